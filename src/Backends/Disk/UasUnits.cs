using System;
using System.Buffers.Binary;

namespace XenUsbDm.Backends.Disk;

/// <summary>Kinds of information units (UAS-3 §6.2.1).</summary>
internal enum UasUnit : byte
{
    /// <summary>COMMAND, from the host: 32 bytes, more with an additional CDB.</summary>
    Command = 0x01,

    /// <summary>SENSE: how a command ended.</summary>
    Sense = 0x03,

    /// <summary>RESPONSE: how a task management function ended, or why a unit was refused.</summary>
    Response = 0x04,

    /// <summary>TASK MANAGEMENT, from the host: 16 bytes.</summary>
    TaskManagement = 0x05,

    /// <summary>READ READY: the data-in pipe carries this command's data next. Only without streams.</summary>
    ReadReady = 0x06,

    /// <summary>WRITE READY: the data-out pipe is for this command's data next. Only without streams.</summary>
    WriteReady = 0x07,
}

/// <summary>Task management functions (UAS-3 §6.2.7).</summary>
internal enum UasFunction : byte
{
    /// <summary>ABORT TASK.</summary>
    AbortTask = 0x01,

    /// <summary>ABORT TASK SET.</summary>
    AbortTaskSet = 0x02,

    /// <summary>CLEAR TASK SET.</summary>
    ClearTaskSet = 0x04,

    /// <summary>LOGICAL UNIT RESET.</summary>
    LogicalUnitReset = 0x08,

    /// <summary>I_T NEXUS RESET.</summary>
    NexusReset = 0x10,

    /// <summary>QUERY TASK.</summary>
    QueryTask = 0x80,

    /// <summary>QUERY TASK SET.</summary>
    QueryTaskSet = 0x81,
}

/// <summary>RESPONSE CODE of a RESPONSE unit (UAS-3 §6.2.6).</summary>
internal enum UasResponse : byte
{
    /// <summary>TASK MANAGEMENT FUNCTION COMPLETE.</summary>
    Complete = 0x00,

    /// <summary>INVALID INFORMATION UNIT.</summary>
    InvalidUnit = 0x02,

    /// <summary>TASK MANAGEMENT FUNCTION NOT SUPPORTED.</summary>
    NotSupported = 0x04,

    /// <summary>TASK MANAGEMENT FUNCTION SUCCEEDED: the task that was asked for is there.</summary>
    Succeeded = 0x08,

    /// <summary>INCORRECT LOGICAL UNIT NUMBER.</summary>
    IncorrectUnit = 0x09,

    /// <summary>OVERLAPPED TAG ATTEMPTED.</summary>
    OverlappedTag = 0x0a,
}

/// <summary>A unit from the host, as far as this disk looks at it. Bytes that did not come are zero.</summary>
internal readonly ref struct UasRequestUnit(ReadOnlySpan<byte> bytes, int length)
{
    /// <summary>Identifier, reserved byte, tag.</summary>
    public const int HeaderLength = 4;

    /// <summary>A COMMAND unit without additional CDB bytes.</summary>
    public const int CommandLength = 32;

    /// <summary>A TASK MANAGEMENT unit.</summary>
    public const int TaskLength = 16;

    private readonly ReadOnlySpan<byte> _bytes = bytes;

    /// <summary>IU ID.</summary>
    public UasUnit Id => (UasUnit)_bytes[0];

    /// <summary>TAG.</summary>
    public ushort Tag => BinaryPrimitives.ReadUInt16BigEndian(_bytes[2..]);

    /// <summary>TASK ATTRIBUTE: 0 simple, 1 head of queue, 2 ordered, 4 ACA.</summary>
    public int Attribute => _bytes[4] & 7;

    /// <summary>TASK MANAGEMENT FUNCTION.</summary>
    public UasFunction Function => (UasFunction)_bytes[4];

    /// <summary>TAG OF TASK TO BE MANAGED.</summary>
    public ushort ManagedTag => BinaryPrimitives.ReadUInt16BigEndian(_bytes[6..]);

    /// <summary>0 for logical unit 0; 1 stands for every other one, since there is none.</summary>
    public int Lun => _bytes.Slice(8, 8).ContainsAnyExcept((byte)0) ? 1 : 0;

    /// <summary>The first 16 bytes of the CDB; no command of this disk has more.</summary>
    public ReadOnlySpan<byte> Command => _bytes.Slice(16, 16);

    /// <summary>A known unit that came whole: for a command with the additional CDB bytes that it announces in its byte 6.</summary>
    public bool IsWhole => Id switch
    {
        UasUnit.Command => length >= CommandLength + (_bytes[6] & 0xfc),
        UasUnit.TaskManagement => length >= TaskLength,
        _ => false,
    };
}

/// <summary>A unit that waits for the host to take it from the status pipe.</summary>
/// <param name="Id">Sense, response, read ready or write ready.</param>
/// <param name="Tag">The tag of the host's unit; with streams also the stream on which it goes.</param>
/// <param name="Code">STATUS of a sense unit (SAM-4 §5.3), RESPONSE CODE of a response unit.</param>
/// <param name="Sense">Sense data with it, or none.</param>
/// <param name="Sector">Sector of the sense data, -1 for none.</param>
/// <param name="Task">The task that it is about; null for what is not about a task of the set.</param>
internal readonly record struct UasReply(UasUnit Id, ushort Tag, byte Code, Sense Sense, long Sector, UasTask? Task)
{
    /// <summary>Most bytes of a unit to the host.</summary>
    public const int MaxLength = 16 + Disk.Sense.FixedLength;

    /// <summary>GOOD.</summary>
    public const byte Good = 0x00;

    /// <summary>CHECK CONDITION.</summary>
    public const byte CheckCondition = 0x02;

    /// <summary>TASK SET FULL.</summary>
    public const byte TaskSetFull = 0x28;

    /// <summary>A response unit.</summary>
    public static UasReply Response(ushort tag, UasResponse code) => new(UasUnit.Response, tag, (byte)code, Sense.None, -1, null);

    /// <summary>A sense unit for a command that did not become a task.</summary>
    public static UasReply Refusal(ushort tag, byte status, Sense sense) => new(UasUnit.Sense, tag, status, sense, -1, null);

    /// <summary>Writes the unit (UAS-3 §6.2.3 to §6.2.6) into at least <see cref="MaxLength"/> bytes; gives its length.</summary>
    public int Write(Span<byte> d)
    {
        d[..MaxLength].Clear();
        d[0] = (byte)Id;
        BinaryPrimitives.WriteUInt16BigEndian(d[2..], Tag);
        switch (Id)
        {
            case UasUnit.Sense:
                d[6] = Code;
                if (!Sense.IsSet) return 16;
                BinaryPrimitives.WriteUInt16BigEndian(d[14..], Disk.Sense.FixedLength);
                return 16 + Sense.WriteFixed(d[16..], Sector);
            case UasUnit.Response:
                d[7] = Code;
                return 8;
            default:
                return UasRequestUnit.HeaderLength;
        }
    }
}
