using System;
using System.Buffers.Binary;
using System.Collections.Generic;
using System.Runtime.InteropServices;
using System.Threading;

namespace XenUsbDm.Native.Linux;

/// <summary>
/// Keeps this process alive when the owner of shared memory makes the file shorter below a mapping. An access beyond the new
/// end raises SIGBUS; the handler puts anonymous memory in the place of that whole mapping and returns, the access is
/// repeated and goes on: it reads zeroes, and what it writes is lost with the client. The client is then dropped.
/// </summary>
/// <remarks>
/// <para>
/// A handler in managed code is not possible: the access happens in managed code, from where the runtime cannot be entered
/// again. So the handler is 156 bytes of machine code, listed below. It touches no stack but its own frame, no lock, no
/// libc and nothing of the runtime's: it looks the address up in a table of mappings, makes one mmap call, and returns.
/// Whatever is not ours goes on to the handler that was there before (the runtime's), or to the system's default.
/// </para>
/// <para>
/// The alternative, reading and writing through the descriptor, needs no handler, but a copy and a call for every access,
/// also for owners who never shrink anything and only do not seal (Cloud Hypervisor; QEMU with memory-backend-file).
/// </para>
/// </remarks>
internal static unsafe class BusErrorGuard
{
    /// <summary>Mappings at a time, of all clients of the process.</summary>
    internal const int Capacity = 1 << 17;

    // The table: slots in use (32 bits), at 8 the handler before ours, at 16 the count of hits, at 32 an empty struct
    // sigaction of the kernel's (SIG_DFL), from 64 on the slots of 32 bytes: address, length (0 is free), hit, unused.
    private const int PreviousOffset = 8;
    private const int HitsOffset = 16;
    private const int SlotsOffset = 64;
    private const int SlotSize = 32;
    private const int SlotLength = 8;
    private const int SlotHit = 16;

    private static readonly Lock Gate = new();
    private static readonly Stack<int> Free = new();
    private static byte* _table;
    private static bool _failed;

    /// <summary>Times that a mapping was replaced, of all clients. Constant unless one misbehaves.</summary>
    internal static long Hits => _table == null ? 0 : Volatile.Read(ref *(long*)(_table + HitsOffset));

    /// <summary>
    /// Guards a mapping until <see cref="Remove"/>, which has to come before it is unmapped. Returns its slot; -1 when there is no
    /// protection: another processor than x86-64, a system that allows no new code, or too many mappings.
    /// </summary>
    internal static int Add(nint address, nuint length)
    {
        lock (Gate)
        {
            if (!TryInstall()) return -1;
            int count = *(int*)_table;
            if (!Free.TryPop(out int slot))
            {
                if (count == Capacity) return -1;
                slot = count++;
            }

            byte* at = Slot(slot);
            *(nint*)at = address;
            *(long*)(at + SlotHit) = 0;
            Volatile.Write(ref *(nuint*)(at + SlotLength), length);
            Volatile.Write(ref *(int*)_table, Math.Max(count, *(int*)_table));
            return slot;
        }
    }

    /// <summary>Ends the protection; -1 is none.</summary>
    internal static void Remove(int slot)
    {
        if (slot < 0) return;
        lock (Gate)
        {
            Volatile.Write(ref *(nuint*)(Slot(slot) + SlotLength), 0);
            Free.Push(slot);
        }
    }

    /// <summary>The mapping was replaced.</summary>
    internal static bool WasHit(int slot) => slot >= 0 && Volatile.Read(ref *(long*)(Slot(slot) + SlotHit)) != 0;

    private static byte* Slot(int slot) => _table + SlotsOffset + ((nint)slot * SlotSize);

    private static bool TryInstall()
    {
        if (_table != null) return true;
        if (_failed || RuntimeInformation.ProcessArchitecture != Architecture.X64) return false;
        _failed = true;
        const int Anew = Libc.MapPrivate | Libc.MapAnonymous | Libc.MapNoReserve;
        nint table = Libc.MapAnew(0, SlotsOffset + (Capacity * SlotSize), Libc.ProtectRead | Libc.ProtectWrite, Anew, -1, 0);
        nint code = Libc.MapAnew(0, (nuint)Environment.SystemPageSize, Libc.ProtectRead | Libc.ProtectWrite, Anew, -1, 0);
        if (table == -1 || code == -1) return false;
        var bytes = new Span<byte>((void*)code, Environment.SystemPageSize);
        Handler.CopyTo(bytes);
        foreach (int at in TableReferences) BinaryPrimitives.WriteInt64LittleEndian(bytes[at..], table);
        if (Libc.Protect(code, (nuint)Environment.SystemPageSize, Libc.ProtectRead | Libc.ProtectExecute) != 0) return false;
        Libc.SignalHandler old;
        if (Libc.SignalAction(Libc.BusError, null, &old) != 0) return false;
        *(nint*)(table + PreviousOffset) = old.Handler;
        Libc.SignalHandler ours = old;
        ours.Handler = code;
        ours.Flags = Libc.ActionSignalInfo | Libc.ActionOnStack | Libc.ActionRestart;
        if (Libc.SignalAction(Libc.BusError, &ours, null) != 0) return false;
        _table = (byte*)table;
        _failed = false;
        return true;
    }

    /// <summary>Where the table's address goes in <see cref="Handler"/>.</summary>
    private static ReadOnlySpan<byte> TableReferences => [0x02, 0x74];

    /// <summary>handler(rdi: signal, rsi: siginfo, rdx: context) for x86-64 Linux. Position independent but for the table's address.</summary>
    private static ReadOnlySpan<byte> Handler =>
    [
        0x49, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, // 00  mov   r8, table
        0x83, 0x7e, 0x08, 0x02, // 0a  cmp   dword [rsi+8], 2        si_code: BUS_ADRERR, beyond the end of the file
        0x75, 0x6c, // 0e  jne   previous
        0x48, 0x8b, 0x46, 0x10, // 10  mov   rax, [rsi+16]           si_addr
        0x41, 0x8b, 0x08, // 14  mov   ecx, [r8]               slots
        0x4d, 0x8d, 0x50, 0x40, // 17  lea   r10, [r8+64]
        0x85, 0xc9, // 1b  next: test ecx, ecx
        0x74, 0x5d, // 1d  jz    previous
        0x49, 0x89, 0xc1, // 1f  mov   r9, rax
        0x4d, 0x2b, 0x0a, // 22  sub   r9, [r10]
        0x4d, 0x3b, 0x4a, 0x08, // 25  cmp   r9, [r10+8]
        0x72, 0x08, // 29  jb    found
        0x49, 0x83, 0xc2, 0x20, // 2b  add   r10, 32
        0xff, 0xc9, // 2f  dec   ecx
        0xeb, 0xe8, // 31  jmp   next
        0x57, // 33  found: push rdi
        0x56, // 34  push  rsi
        0x52, // 35  push  rdx
        0x49, 0xc7, 0x42, 0x10, 1, 0, 0, 0, // 36  mov   qword [r10+16], 1       this one is hit
        0xf0, 0x49, 0xff, 0x40, 0x10, // 3e  lock inc qword [r8+16]        hits
        0x49, 0x8b, 0x3a, // 43  mov   rdi, [r10]
        0x49, 0x8b, 0x72, 0x08, // 46  mov   rsi, [r10+8]
        0xba, 3, 0, 0, 0, // 4a  mov   edx, PROT_READ|PROT_WRITE
        0x41, 0xba, 0x32, 0x40, 0, 0, // 4f  mov   r10d, MAP_PRIVATE|MAP_FIXED|MAP_ANONYMOUS|MAP_NORESERVE
        0x49, 0xc7, 0xc0, 0xff, 0xff, 0xff, 0xff, // 55  mov   r8, -1
        0x45, 0x31, 0xc9, // 5c  xor   r9d, r9d
        0xb8, 9, 0, 0, 0, // 5f  mov   eax, mmap
        0x0f, 0x05, // 64  syscall
        0x5a, // 66  pop   rdx
        0x5e, // 67  pop   rsi
        0x5f, // 68  pop   rdi
        0x48, 0x3d, 0x01, 0xf0, 0xff, 0xff, // 69  cmp   rax, -4095              an error?
        0x73, 0x01, // 6f  jae   failed
        0xc3, // 71  ret
        0x49, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, // 72  failed: mov r8, table
        0x49, 0x8b, 0x40, 0x08, // 7c  previous: mov rax, [r8+8]
        0x48, 0x83, 0xf8, 0x01, // 80  cmp   rax, SIG_IGN
        0x76, 0x02, // 84  jbe   default
        0xff, 0xe0, // 86  jmp   rax
        0x49, 0x8d, 0x70, 0x20, // 88  default: lea rsi, [r8+32]     SIG_DFL: the access is repeated and ends the process
        0x31, 0xd2, // 8c  xor   edx, edx
        0x41, 0xba, 8, 0, 0, 0, // 8e  mov   r10d, 8
        0xb8, 13, 0, 0, 0, // 94  mov   eax, rt_sigaction
        0x0f, 0x05, // 99  syscall
        0xc3, // 9b  ret
    ];
}
