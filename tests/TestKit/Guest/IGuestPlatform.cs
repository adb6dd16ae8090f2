using System;

namespace XenUsbDm.TestKit.Guest;

/// <summary>
/// Everything that the guest's driver can see of its machine: one PCI function, its memory, interrupts and time. The
/// driver is written from the specifications against this; it knows nothing of who implements it, or of which clock.
/// </summary>
public interface IGuestPlatform
{
    /// <summary>Nanoseconds since some fixed instant.</summary>
    ulong Now { get; }

    /// <summary>RAM below 4 GiB that the driver may use.</summary>
    GuestBuffer LowMemory { get; }

    /// <summary>RAM above 4 GiB that the driver may use; length 0 when there is none.</summary>
    GuestBuffer HighMemory { get; }

    /// <summary>The level of the function's INTx pin.</summary>
    bool IntxAsserted { get; }

    /// <summary>Reads 1, 2 or 4 bytes of the function's configuration space.</summary>
    uint ConfigRead(int offset, int size);

    /// <summary>Writes 1, 2 or 4 bytes of the function's configuration space.</summary>
    void ConfigWrite(int offset, int size, uint value);

    /// <summary>Reads 1, 2, 4 or 8 bytes at a physical address; all ones where nothing decodes it.</summary>
    ulong MmioRead(ulong address, int size);

    /// <summary>Writes 1, 2, 4 or 8 bytes at a physical address.</summary>
    void MmioWrite(ulong address, int size, ulong value);

    /// <summary>The guest's own view of its RAM. Throws when there is none.</summary>
    Span<byte> Memory(ulong address, int length);

    /// <summary>
    /// Sleeps until an interrupt is pending (a message since the last <see cref="TakeMessages"/>, or INTx asserted) or the
    /// time is over. True when one is pending.
    /// </summary>
    bool WaitForInterrupt(ulong timeoutNanoseconds);

    /// <summary>Lets time pass without looking for interrupts; 0 lets the hardware act without time passing.</summary>
    void Relax(ulong nanoseconds);

    /// <summary>Messages received since the last call: bit N for message data N (0-63).</summary>
    ulong TakeMessages();

    /// <summary>Text for the report of a failed wait (the model's inspect tree), or empty.</summary>
    string Diagnose();
}

/// <summary>A piece of guest RAM.</summary>
public readonly record struct GuestBuffer(ulong Address, int Length)
{
    public GuestBuffer Slice(int offset, int length) => new(Address + (ulong)offset, length);

    public ulong End => Address + (ulong)Length;
}

/// <summary>Something the driver expected did not happen in time.</summary>
public sealed class GuestTimeoutException : Exception
{
    public GuestTimeoutException()
    {
    }

    public GuestTimeoutException(string message)
        : base(message)
    {
    }

    public GuestTimeoutException(string message, Exception innerException)
        : base(message, innerException)
    {
    }
}

/// <summary>The hardware answered in a way that a driver gives up on.</summary>
public sealed class GuestDriverException : Exception
{
    public GuestDriverException()
    {
    }

    public GuestDriverException(string message)
        : base(message)
    {
    }

    public GuestDriverException(string message, Exception innerException)
        : base(message, innerException)
    {
    }

    public GuestDriverException(string message, GuestCompletion code)
        : base($"{message}: {code}") => Code = code;

    /// <summary>The completion code behind it, or Invalid.</summary>
    public GuestCompletion Code { get; }
}
