using System;
using System.Collections.Generic;

namespace XenUsbDm.Frontends.Xhci;

/// <summary>
/// The tables laid out for one configuration: one <see cref="RegisterSpec"/> per 32-bit word of the register block, so
/// that an access is an array index, a mask and a switch.
/// </summary>
internal sealed class RegisterMap
{
    private readonly RegisterSpec[] _words = new RegisterSpec[RegisterTables.Length / 4];
    private readonly byte[] _instance = new byte[RegisterTables.Length / 4];
    private readonly List<RegisterSpec> _registers = [];

    private static RegisterMap? _latest;

    private readonly XhciOptions _options;

    /// <summary>Lays out the register block of a controller with <paramref name="options"/>.</summary>
    public RegisterMap(XhciOptions options)
    {
        _options = options;
        Add(RegisterTables.Capability, 0, 0);
        Add(RegisterTables.Operational, RegisterTables.OperationalOffset, 0);
        for (int port = 0; port < options.RootPorts; port++)
        {
            RegisterSpec[] table = port < options.Usb2Ports ? RegisterTables.Usb2Port : RegisterTables.Usb3Port;
            Add(table, RegisterTables.PortsOffset + (port * RegisterTables.PortStride), port);
        }

        foreach (RegisterSpec spec in RegisterTables.Extended)
        {
            bool usb3 = spec.Name.StartsWith("SUPPORTED_PROTOCOL_USB3", StringComparison.Ordinal);
            if (!usb3 || options.Usb3Ports > 0) Add([spec], RegisterTables.ExtendedOffset, 0);
        }

        Add(RegisterTables.Runtime, RegisterTables.RuntimeOffset, 0);
        for (int interrupter = 0; interrupter < options.Interrupters; interrupter++)
            Add(RegisterTables.Interrupter, RegisterTables.InterruptersOffset + (interrupter * RegisterTables.InterrupterStride), interrupter);
        for (int doorbell = 0; doorbell <= options.Slots; doorbell++)
            Add(RegisterTables.Doorbell, RegisterTables.DoorbellOffset + (doorbell * 4), doorbell);

        // What the configuration decides (§5.3.3, §7.2).
        SetReset(0x04, (uint)options.Slots | ((uint)options.Interrupters << 8) | ((uint)options.RootPorts << 24));
        SetReset(RegisterTables.ExtendedOffset + 0x18, 1u | ((uint)options.Usb2Ports << 8) | (3u << 28));
        if (options.Usb3Ports > 0)
            SetReset(RegisterTables.ExtendedOffset + 0x38, (uint)(options.Usb2Ports + 1) | ((uint)options.Usb3Ports << 8) | (1u << 28));
        else
            SetReset(RegisterTables.ExtendedOffset + 0x10, 0x0200_0002);
    }

    /// <summary>
    /// The layout for <paramref name="options"/>. It never changes once made and is some 200 KiB large, so controllers that
    /// follow one another with the same options share it.
    /// </summary>
    public static RegisterMap For(XhciOptions options)
    {
        RegisterMap? latest = _latest;
        if (latest is null || latest._options != options) _latest = latest = new RegisterMap(options);
        return latest;
    }

    /// <summary>Every register with its absolute offset and whole width, in order of layout (for tests and inspection).</summary>
    public IReadOnlyList<RegisterSpec> Registers => _registers;

    /// <summary>The 32-bit word with index <paramref name="word"/>; words without a register are all reserved.</summary>
    public ref readonly RegisterSpec Word(int word) => ref _words[word];

    /// <summary>Zero-based port, interrupter or doorbell that the word belongs to.</summary>
    public int Instance(int word) => _instance[word];

    /// <summary>Words in the block.</summary>
    public int WordCount => _words.Length;

    private void Add(ReadOnlySpan<RegisterSpec> table, int start, int instance)
    {
        foreach (RegisterSpec spec in table)
        {
            RegisterSpec absolute = spec with { Offset = start + spec.Offset };
            _registers.Add(absolute);
            int word = absolute.Offset / 4;
            int shift = absolute.Offset % 4 * 8;
            _instance[word] = (byte)instance;
            _words[word] = absolute with
            {
                // The two small registers (CAPLENGTH, HCIVERSION) share a word and have nothing but a reset value.
                Reset = _words[word].Reset | ((spec.Reset << shift) & 0xffff_ffff),
                Writable = spec.Writable & 0xffff_ffff,
                ClearOnOne = spec.ClearOnOne & 0xffff_ffff,
                SetOnOne = spec.SetOnOne & 0xffff_ffff,
            };
            if (spec.Width != 8) continue;
            _instance[word + 1] = (byte)instance;
            _words[word + 1] = absolute with
            {
                Offset = absolute.Offset + 4,
                Reset = spec.Reset >> 32,
                Writable = spec.Writable >> 32,
                ClearOnOne = spec.ClearOnOne >> 32,
                SetOnOne = spec.SetOnOne >> 32,
                Half = 1,
            };
        }
    }

    private void SetReset(int offset, uint value)
    {
        _words[offset / 4] = _words[offset / 4] with { Reset = value };
        int index = _registers.FindIndex(r => r.Offset == offset);
        _registers[index] = _registers[index] with { Reset = value };
    }
}
