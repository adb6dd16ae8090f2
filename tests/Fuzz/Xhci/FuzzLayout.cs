namespace XenUsbDm.Fuzz.Xhci;

/// <summary>Where the fuzzer's driver keeps its structures. Fixed places, so that an action can name any of them in one byte.</summary>
public static class FuzzLayout
{
    public const ulong Dcbaa = 0x1000;
    public const ulong CommandRing = 0x2000;
    public const int CommandTrbs = 64;
    public const ulong SegmentTables = 0x3000;
    public const ulong EventRings = 0x4000;
    public const int EventTrbs = 64;
    public const ulong DeviceContexts = 0x8000;
    public const ulong InputContexts = 0xc000;
    public const ulong Scratch = 0xd000;
    public const ulong PrimaryStreams = 0xe000;
    public const ulong SecondaryStreams = 0xf000;
    public const ulong TransferRings = 0x10000;
    public const int TransferTrbs = 16;
    public const ulong StreamRings = 0x20000;
    public const ulong Buffers = 0x30000;

    public static ulong SegmentTable(int interrupter) => SegmentTables + ((ulong)interrupter * 0x100);

    public static ulong EventRing(int interrupter) => EventRings + ((ulong)interrupter * 0x1000);

    public static ulong DeviceContext(int slot) => DeviceContexts + ((ulong)slot * 0x400);

    public static ulong InputContext(int slot) => InputContexts + ((ulong)(slot & 1) * 0x800);

    public static ulong TransferRing(int slot, int dci) => TransferRings + ((ulong)(((slot - 1) & 7) * 32 + (dci & 31)) * 0x100);

    public static ulong StreamRing(int stream) => StreamRings + ((ulong)(stream & 0xff) * 0x100);

    /// <summary>An address by selector and offset: every structure, data, the borders of memory, holes, the controller's own BAR.</summary>
    public static ulong Address(int selector, int offset)
    {
        ulong at = (ulong)offset;
        return (selector % 32) switch
        {
            0 => Buffers + at,
            1 => Buffers + (at * 16),
            2 => Buffers + 0xfff0 - (at * 16),
            3 => CommandRing + (at * 16),
            4 => EventRings + (at * 16),
            5 => TransferRings + (at * 16),
            6 => StreamRings + (at * 16),
            7 => Dcbaa + (at * 8),
            8 => DeviceContexts + (at * 32),
            9 => InputContexts + (at * 32),
            10 => SegmentTables + (at * 16),
            11 => PrimaryStreams + (at * 16),
            12 => SecondaryStreams + (at * 16),
            13 => FuzzMemory.LowBytes - 64 + at,
            14 => FuzzMemory.HighBase + (at * 16),
            15 => (1UL << 32) - 128 + at,
            16 => (1UL << 32) + (at * 16),
            17 => FuzzMemory.HighBase + FuzzMemory.HighBytes - 64 + at,
            18 => FuzzMachine.BarAddress + (at * 16),
            19 => FuzzMachine.BarAddress + 0x2000 + (at * 4),
            20 => 0x8000_0000 + (at * 16),
            21 => ulong.MaxValue - 255 + at,
            22 => at,
            23 => at << 56,
            24 => 0xfee0_0000 + at,
            25 => Scratch + (at * 8),
            26 => TransferRings + (at * 0x100),
            27 => StreamRings + (at * 0x100),
            28 => Buffers + 0x8000 + (at * 256),
            29 => TransferRings + 0xff0,
            30 => 0,
            _ => Buffers,
        };
    }
}
