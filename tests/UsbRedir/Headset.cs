using System;
using System.Collections.Generic;
using System.IO;

namespace XenUsbDm.UsbRedir;

/// <summary>
/// USB Audio Class 1.0 at full speed: 48 kHz, two channels of 16 bits; the speaker takes 192 bytes in each millisecond. Without a
/// volume: nobody changes a sample. The microphone says what the speaker plays, so the machine's own time is the only clock. It
/// says it in packets of 256 bytes, three for four: QEMU keeps at most 120 packets for a host that misses a millisecond now and
/// then, and throws away what is more; a host that may catch up never lets so many wait. Nothing is dropped here.
/// </summary>
public sealed class Headset(Stream heard) : RedirDevice
{
    public const byte Speaker = 0x01;
    public const byte Microphone = 0x82;

    /// <summary>Bytes of each packet of the microphone, a third more than a millisecond's.</summary>
    public const int SaidAtOnce = 256;

    private readonly SortedDictionary<int, int> _sizes = [];
    private readonly byte[] _said = new byte[SaidAtOnce];
    private int _unsaid;
    private bool _listenedTo;
    private long _heardPackets;
    private long _heardBytes;
    private long _saidPackets;
    private long _saidBytes;

    public override byte Speed => 1;

    public override byte[] Device { get; } = [18, 1, 0x10, 0x01, 0, 0, 0, 64, 0x09, 0x12, 0x01, 0x00, 0x00, 0x01, 0, 1, 0, 1];

    public override byte[] Configuration { get; } =
    [
        9, 2, 174, 0, 3, 1, 0, 0x80, 50,
        9, 4, 0, 0, 0, 1, 1, 0, 0, // AudioControl
        10, 0x24, 1, 0x00, 0x01, 52, 0, 2, 1, 2, // header: two streaming interfaces
        12, 0x24, 2, 1, 0x01, 0x01, 0, 2, 3, 0, 0, 0, // input terminal 1: USB
        9, 0x24, 3, 2, 0x01, 0x03, 0, 1, 0, // output terminal 2: speaker
        12, 0x24, 2, 3, 0x01, 0x02, 0, 2, 3, 0, 0, 0, // input terminal 3: microphone
        9, 0x24, 3, 4, 0x01, 0x01, 0, 3, 0, // output terminal 4: USB
        .. Streaming(1, 1, Speaker, 0x09, 192), // adaptive: it takes what comes
        .. Streaming(2, 4, Microphone, 0x05, SaidAtOnce), // asynchronous
    ];

    protected override string Product => "Rig Headset";

    public override void StreamChanged(byte endpoint, bool runs)
    {
        if (endpoint != Microphone) return;
        _listenedTo = runs;
        _unsaid = 0;
    }

    public override void IsochronousOut(byte endpoint, ReadOnlyMemory<byte> data)
    {
        if (endpoint != Speaker) return;
        heard.Write(data.Span);
        _heardPackets++;
        _heardBytes += data.Length;
        _sizes[data.Length] = _sizes.GetValueOrDefault(data.Length) + 1;
        if (!_listenedTo) return;
        while (data.Length > 0)
        {
            int part = Math.Min(data.Length, SaidAtOnce - _unsaid);
            data.Span[..part].CopyTo(_said.AsSpan(_unsaid));
            data = data[part..];
            _unsaid += part;
            if (_unsaid < SaidAtOnce) continue;
            SendIsochronous(Microphone, _said);
            _saidPackets++;
            _saidBytes += _unsaid;
            _unsaid = 0;
        }
    }

    public override IEnumerable<string> Report()
    {
        yield return $"heard {_heardPackets} packets {_heardBytes} bytes";
        yield return $"said {_saidPackets} packets {_saidBytes} bytes";
        foreach ((int size, int count) in _sizes) yield return $"size {size} packets {count}";
    }

    // Alternate setting 0 is silent, 1 has one format: PCM, two channels, 2 bytes, 16 bits, 48,000 Hz.
    private static byte[] Streaming(byte number, byte terminal, byte endpoint, byte attributes, int packet) =>
    [
        9, 4, number, 0, 0, 1, 2, 0, 0,
        9, 4, number, 1, 1, 1, 2, 0, 0,
        7, 0x24, 1, terminal, 1, 0x01, 0x00,
        11, 0x24, 2, 1, 2, 2, 16, 1, 0x80, 0xbb, 0x00,
        9, 5, endpoint, attributes, (byte)(packet & 0xff), (byte)(packet >> 8), 1, 0, 0,
        7, 0x25, 1, 0, 0, 0, 0,
    ];
}
