using System;
using System.Buffers.Binary;
using System.Collections.Generic;
using System.IO;
using System.Runtime.InteropServices;
using System.Text;
using XenUsbDm.Hosts.VfioUser;
using XenUsbDm.Native.Linux;
using Xunit;

namespace XenUsbDm.UnitTests.Hosts.VfioUser;

/// <summary>A reply: errno (0 is success) and payload.</summary>
internal sealed record Reply(int Error, byte[] Payload, MessageHeader Header);

/// <summary>A host and a client of it, over a real socket pair, real shared memory and real eventfds, on one thread.</summary>
internal sealed class VfioClient : IDisposable
{
    public const string QemuCapabilities =
        "{\"capabilities\":{\"migration\":{\"pgsize\":4096,\"max_bitmap_size\":268435456},\"max_msg_fds\":16,\"max_data_xfer_size\":1048576,\"pgsizes\":4096,\"max_dma_maps\":65535,\"write_multiple\":true}}\0";

    private readonly List<IDisposable> _owned = [];
    private readonly bool _ownsHost;
    private ushort _id;

    public VfioClient(VfioUserHost? host = null, ManualLoop? loop = null, VfioUserOptions? options = null)
    {
        Loop = loop ?? new ManualLoop();
        _ownsHost = host is null;
        Host = host ?? new VfioUserHost(Loop, new VfioSystem(), null, options);
        (UnixSocket mine, UnixSocket theirs) = UnixSocket.Pair()!.Value;
        Socket = mine;
        Assert.True(Host.Accept(theirs));
    }

    public ManualLoop Loop { get; }

    public VfioUserHost Host { get; }

    public UnixSocket Socket { get; }

    /// <summary>Bytes received and not yet taken by a reply.</summary>
    public List<byte> Received { get; } = [];

    /// <summary>The server closed the connection.</summary>
    public bool IsClosed { get; private set; }

    public VfioSystem Kernel { get; } = new();

    public static byte[] Words(params uint[] words)
    {
        byte[] bytes = new byte[words.Length * 4];
        for (int i = 0; i < words.Length; i++) BinaryPrimitives.WriteUInt32LittleEndian(bytes.AsSpan(i * 4), words[i]);
        return bytes;
    }

    public static byte[] Join(params byte[][] parts)
    {
        using var all = new MemoryStream();
        foreach (byte[] part in parts) all.Write(part);
        return all.ToArray();
    }

    public static byte[] Long(ulong value) => Words((uint)(value & uint.MaxValue), (uint)(value >> 32));

    public static byte[] Message(ushort id, int command, byte[] payload, uint flags = 0)
    {
        byte[] bytes = new byte[16 + payload.Length];
        new MessageHeader(id, (VfioUserCommand)command, (uint)bytes.Length, flags, 0).Write(bytes);
        payload.CopyTo(bytes, 16);
        return bytes;
    }

    public static byte[] VersionPayload(ushort major, ushort minor, string json)
    {
        byte[] bytes = new byte[4 + json.Length];
        BinaryPrimitives.WriteUInt16LittleEndian(bytes, major);
        BinaryPrimitives.WriteUInt16LittleEndian(bytes.AsSpan(2), minor);
        Encoding.ASCII.GetBytes(json, bytes.AsSpan(4));
        return bytes;
    }

    /// <summary>A file of memory to share.</summary>
    public SafeHandle MemoryFile(long length)
    {
        string path = Path.Combine(Path.GetTempPath(), Path.GetRandomFileName());
        FileStream file = new(path, FileMode.CreateNew, FileAccess.ReadWrite, FileShare.ReadWrite, 1, FileOptions.DeleteOnClose);
        file.SetLength(length);
        _owned.Add(file);
        return file.SafeFileHandle;
    }

    public Descriptor Event()
    {
        Descriptor made = Descriptor.NewEvent();
        _owned.Add(made);
        return made;
    }

    public Reply Negotiate(ushort minor = 0) => Request(1, VersionPayload(0, minor, QemuCapabilities));

    public Reply Map(ulong address, ulong size, SafeHandle? file = null, ulong offset = 0, uint flags = 3)
    {
        byte[] payload = Join(Words(32, flags), Long(offset), Long(address), Long(size));
        return file is null ? Request(2, payload) : Request(2, payload, file);
    }

    public Reply Unmap(ulong address, ulong size, uint flags = 0) => Request(3, Join(Words(24, flags), Long(address), Long(size)));

    public Reply SetIrqs(uint flags, uint index, uint start, uint count, params SafeHandle[] descriptors) =>
        Request(8, Words(20, flags, index, start, count), descriptors);

    public Reply Read(uint region, ulong offset, uint count) => Request(9, Join(Long(offset), Words(region, count)));

    public Reply Write(uint region, ulong offset, params byte[] data) => Request(10, Join(Long(offset), Words(region, (uint)data.Length), data));

    public ulong ReadValue(uint region, ulong offset, int size)
    {
        Reply reply = Read(region, offset, (uint)size);
        Assert.Equal(0, reply.Error);
        byte[] word = new byte[8];
        reply.Payload.AsSpan(16).CopyTo(word);
        return BinaryPrimitives.ReadUInt64LittleEndian(word);
    }

    public void WriteValue(uint region, ulong offset, int size, ulong value)
    {
        byte[] word = new byte[8];
        BinaryPrimitives.WriteUInt64LittleEndian(word, value);
        Assert.Equal(0, Write(region, offset, word[..size]).Error);
    }

    public Reply Request(int command, byte[] payload, params SafeHandle[] descriptors)
    {
        Send(Message(++_id, command, payload), descriptors);
        return Answer() ?? throw new InvalidOperationException("the server closed the connection");
    }

    public void Send(byte[] bytes, params SafeHandle[] descriptors)
    {
        SocketOutcome outcome = Socket.Send(bytes, descriptors, out int count);
        Assert.Equal(SocketOutcome.Moved, outcome);
        Assert.Equal(bytes.Length, count);
    }

    /// <summary>Lets the host act and takes in what it sent.</summary>
    public void Turn()
    {
        Loop.Turn(Host);
        byte[] buffer = new byte[1 << 17];
        var none = new List<SafeHandle>();
        while (!IsClosed)
        {
            SocketOutcome outcome = Socket.Receive(buffer, none, out int count);
            if (outcome == SocketOutcome.WouldBlock) break;
            if (outcome == SocketOutcome.Moved) Received.AddRange(buffer.AsSpan(0, count));
            else IsClosed = true;
        }

        Assert.Empty(none);
    }

    /// <summary>The next reply; null when the server closed the connection instead.</summary>
    public Reply? Answer()
    {
        for (int turn = 0; turn < 100; turn++)
        {
            byte[] bytes = [.. Received];
            if (MessageHeader.TryRead(bytes, out MessageHeader header) && header.Size <= bytes.Length)
            {
                Received.RemoveRange(0, (int)header.Size);
                Assert.False(header.IsCommand);
                return new Reply(header.IsError ? (int)header.Error : 0, bytes[16..(int)header.Size], header);
            }

            if (IsClosed) return null;
            Turn();
        }

        return null;
    }

    public void PassTime(ulong nanoseconds)
    {
        Loop.PassTo(Loop.Now.Plus(nanoseconds));
        Turn();
    }

    public void Disconnect()
    {
        Socket.Dispose();
        Loop.Turn(Host);
    }

    public void Dispose()
    {
        Socket.Dispose();
        if (_ownsHost) Host.Dispose();
        foreach (IDisposable owned in _owned) owned.Dispose();
    }
}
