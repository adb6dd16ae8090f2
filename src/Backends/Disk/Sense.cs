using System;
using System.Buffers.Binary;

namespace XenUsbDm.Backends.Disk;

/// <summary>Why a command failed: sense key, additional sense code and qualifier (SPC-4 §4.5.6, annex D).</summary>
internal readonly record struct Sense(byte Key, byte Code, byte Qualifier)
{
    /// <summary>NO SENSE: nothing to report.</summary>
    public static Sense None => default;

    /// <summary>NOT READY, MEDIUM NOT PRESENT.</summary>
    public static Sense NoMedium => new(0x2, 0x3a, 0x00);

    /// <summary>MEDIUM ERROR, UNRECOVERED READ ERROR.</summary>
    public static Sense ReadError => new(0x3, 0x11, 0x00);

    /// <summary>MEDIUM ERROR, WRITE ERROR.</summary>
    public static Sense WriteError => new(0x3, 0x0c, 0x00);

    /// <summary>HARDWARE ERROR, INTERNAL TARGET FAILURE.</summary>
    public static Sense TargetFailure => new(0x4, 0x44, 0x00);

    /// <summary>ILLEGAL REQUEST, PARAMETER LIST LENGTH ERROR.</summary>
    public static Sense ListLength => new(0x5, 0x1a, 0x00);

    /// <summary>ILLEGAL REQUEST, INVALID COMMAND OPERATION CODE.</summary>
    public static Sense InvalidOperation => new(0x5, 0x20, 0x00);

    /// <summary>ILLEGAL REQUEST, LOGICAL BLOCK ADDRESS OUT OF RANGE.</summary>
    public static Sense OutOfRange => new(0x5, 0x21, 0x00);

    /// <summary>ILLEGAL REQUEST, INVALID FIELD IN CDB.</summary>
    public static Sense InvalidField => new(0x5, 0x24, 0x00);

    /// <summary>ILLEGAL REQUEST, LOGICAL UNIT NOT SUPPORTED.</summary>
    public static Sense NoSuchUnit => new(0x5, 0x25, 0x00);

    /// <summary>ILLEGAL REQUEST, INVALID FIELD IN PARAMETER LIST.</summary>
    public static Sense InvalidParameter => new(0x5, 0x26, 0x00);

    /// <summary>ILLEGAL REQUEST, SAVING PARAMETERS NOT SUPPORTED.</summary>
    public static Sense NoSavedParameters => new(0x5, 0x39, 0x00);

    /// <summary>ILLEGAL REQUEST, MEDIUM REMOVAL PREVENTED.</summary>
    public static Sense RemovalPrevented => new(0x5, 0x53, 0x02);

    /// <summary>UNIT ATTENTION, NOT READY TO READY CHANGE, MEDIUM MAY HAVE CHANGED.</summary>
    public static Sense MediumChanged => new(0x6, 0x28, 0x00);

    /// <summary>UNIT ATTENTION, POWER ON, RESET, OR BUS DEVICE RESET OCCURRED.</summary>
    public static Sense PowerOn => new(0x6, 0x29, 0x00);

    /// <summary>ILLEGAL REQUEST, INVALID FIELD IN COMMAND INFORMATION UNIT.</summary>
    public static Sense InvalidUnitField => new(0x5, 0x0e, 0x03);

    /// <summary>DATA PROTECT, WRITE PROTECTED.</summary>
    public static Sense WriteProtected => new(0x7, 0x27, 0x00);

    /// <summary>DATA PROTECT, SPACE ALLOCATION FAILED WRITE PROTECT: a thin medium has run out of room (SBC-3 §4.7.3.6).</summary>
    public static Sense NoSpace => new(0x7, 0x27, 0x07);

    /// <summary>MISCOMPARE DURING VERIFY OPERATION.</summary>
    public static Sense Miscompare => new(0xe, 0x1d, 0x00);

    /// <summary>Bytes of fixed-format sense data.</summary>
    public const int FixedLength = 18;

    /// <summary>Bytes of descriptor-format sense data with an information descriptor.</summary>
    public const int DescriptorLength = 20;

    /// <summary>There is something to report.</summary>
    public bool IsSet => Key != 0;

    /// <summary>The sense of a store's result; <paramref name="writing"/> tells which medium error.</summary>
    public static Sense FromResult(BlockResult result, bool writing) => result switch
    {
        BlockResult.Success => None,
        BlockResult.MediumError => writing ? WriteError : ReadError,
        BlockResult.NoSpace => NoSpace,
        BlockResult.WriteProtected => WriteProtected,
        _ => TargetFailure,
    };

    /// <summary>Fixed-format sense data (SPC-4 §4.5.3), 18 bytes. <paramref name="lba"/> is the INFORMATION field, -1 for none.</summary>
    public int WriteFixed(Span<byte> destination, long lba)
    {
        Span<byte> d = destination[..FixedLength];
        d.Clear();
        bool valid = lba is >= 0 and <= uint.MaxValue;
        d[0] = (byte)(valid ? 0xf0 : 0x70);
        d[2] = Key;
        if (valid) BinaryPrimitives.WriteUInt32BigEndian(d[3..], (uint)lba);
        d[7] = FixedLength - 8;
        d[12] = Code;
        d[13] = Qualifier;
        return FixedLength;
    }

    /// <summary>Descriptor-format sense data (SPC-4 §4.5.2), 8 or 20 bytes.</summary>
    public int WriteDescriptor(Span<byte> destination, long lba)
    {
        Span<byte> d = destination[..DescriptorLength];
        d.Clear();
        d[0] = 0x72;
        d[1] = Key;
        d[2] = Code;
        d[3] = Qualifier;
        if (lba < 0) return 8;
        d[7] = 12;
        d[9] = 10;
        d[10] = 0x80;
        BinaryPrimitives.WriteInt64BigEndian(d[12..], lba);
        return DescriptorLength;
    }

    /// <inheritdoc/>
    public override string ToString() => $"{Key:x}/{Code:x2}/{Qualifier:x2}";
}
