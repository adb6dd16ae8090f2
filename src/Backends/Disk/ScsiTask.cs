using System;
using System.Buffers.Binary;

namespace XenUsbDm.Backends.Disk;

/// <summary>
/// What the logical unit keeps for one command under way: its buffer, the parameter list it waits for, its sense data. Bulk-only
/// transport has one of them for all commands; USB Attached SCSI has one for each command in flight.
/// </summary>
internal sealed class ScsiTask
{
    private byte[]? _buffer;

    /// <summary>CMDQUE: the transport takes commands while others are under way (SPC-4 §6.6.2).</summary>
    public bool Queues { get; init; }

    /// <summary>Response data or parameter list, made when it is first asked for.</summary>
    public byte[] Buffer => _buffer ??= new byte[ScsiTarget.BufferBytes];

    /// <summary>The buffer was made, so there may be something in it.</summary>
    public bool HasBuffer => _buffer is not null;

    /// <summary>Why the command failed; not set for one that did not.</summary>
    public Sense Sense { get; set; }

    /// <summary>Sector of the INFORMATION field, -1 for none.</summary>
    public long SenseSector { get; set; } = -1;

    /// <summary>The command that waits for its parameter list.</summary>
    public ScsiOperation Receiving { get; set; }

    /// <summary>What follows that list.</summary>
    public ScsiPlan AfterReceive { get; set; }

    /// <summary>Ends the command with <paramref name="sense"/>, for sector <paramref name="sector"/> or -1.</summary>
    public void SetSense(Sense sense, long sector)
    {
        Sense = sense;
        SenseSector = sector;
    }

    /// <summary>Range <paramref name="index"/> of the UNMAP parameter list in the buffer.</summary>
    public void UnmapRange(int index, out long sector, out long count)
    {
        ReadOnlySpan<byte> d = Buffer.AsSpan(8 + (index * 16), 16);
        sector = BinaryPrimitives.ReadInt64BigEndian(d);
        count = BinaryPrimitives.ReadUInt32BigEndian(d[8..]);
    }
}
