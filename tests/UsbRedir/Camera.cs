using System;
using System.Buffers.Binary;
using System.Collections.Generic;

namespace XenUsbDm.UsbRedir;

/// <summary>
/// USB Video Class 1.0 at high speed: uncompressed frames of 160 x 120 over a bulk endpoint, so that no time is in it. Frames come
/// one after the other out of <paramref name="film"/>, from its beginning whenever the host commits to a format, as fast as it
/// asks. It has one control, brightness, which it keeps and does not apply.
/// </summary>
public sealed class Camera(byte[] film) : RedirDevice
{
    public const byte Endpoint = 0x81;
    public const int Width = 160;
    public const int Height = 120;
    public const int FrameBytes = Width * Height * 2;

    private const int PayloadHeader = 2;
    private const int Interval = 333_333; // 30 frames a second, in units of 100 ns
    private const byte SetCurrent = 0x01;
    private const byte GetLength = 0x85;
    private const byte GetInfo = 0x86;
    private const ushort Streaming = 1; // wIndex: the streaming interface
    private const ushort Processing = 2 << 8; // wIndex: unit 2 of the control interface

    private readonly byte[] _payload = new byte[PayloadHeader + FrameBytes];
    private readonly int _frames = Math.Max(1, film.Length / FrameBytes);
    private int _frame;
    private int _at; // how much of the frame's payload has gone
    private int _brightness;
    private long _sent;
    private long _commits;

    public override byte Speed => 2;

    public override byte[] Device { get; } = [18, 1, 0x00, 0x02, 0xef, 2, 1, 64, 0x09, 0x12, 0x02, 0x00, 0x00, 0x01, 0, 1, 0, 1];

    public override byte[] Configuration { get; } =
    [
        9, 2, 170, 0, 2, 1, 0, 0x80, 50,
        8, 11, 0, 2, 14, 3, 0, 0, // interfaces 0 and 1 are one function
        9, 4, 0, 0, 0, 14, 1, 0, 0, // VideoControl
        13, 0x24, 1, 0x00, 0x01, 51, 0, 0x00, 0x6c, 0xdc, 0x02, 1, 1,
        18, 0x24, 2, 1, 0x01, 0x02, 0, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, // terminal 1: camera
        11, 0x24, 5, 2, 1, 0, 0, 2, 0x01, 0, 0, // unit 2: brightness
        9, 0x24, 3, 3, 0x01, 0x01, 0, 2, 0, // terminal 3: USB
        9, 4, 1, 0, 1, 14, 2, 0, 0, // VideoStreaming
        14, 0x24, 1, 1, 77, 0, Endpoint, 0, 3, 0, 0, 0, 1, 0,
        27, 0x24, 4, 1, 1, .. "YUY2"u8, 0, 0, 0x10, 0, 0x80, 0, 0, 0xaa, 0, 0x38, 0x9b, 0x71, 16, 1, 0, 0, 0, 0,
        30, 0x24, 5, 1, 0, Width, 0, Height, 0, .. Number(FrameBytes * 8 * 30), .. Number(FrameBytes * 8 * 30), .. Number(FrameBytes), .. Number(Interval), 1, .. Number(Interval),
        6, 0x24, 13, 1, 1, 4,
        7, 5, Endpoint, 2, 0x00, 0x02, 0,
    ];

    protected override string Product => "Rig Camera";

    public override IEnumerable<string> Report()
    {
        yield return $"sent {_sent} frames";
        yield return $"commits {_commits}";
        yield return $"brightness {_brightness}";
    }

    public override ReadOnlyMemory<byte> BulkIn(byte endpoint, int most)
    {
        if (endpoint != Endpoint || film.Length < FrameBytes) return default;
        if (_at == 0)
        {
            // Header: its length; end of header, end of frame, and a bit that changes from frame to frame.
            _payload[0] = PayloadHeader;
            _payload[1] = (byte)(0x82 | (_frame & 1));
            film.AsSpan(_frame % _frames * FrameBytes, FrameBytes).CopyTo(_payload.AsSpan(PayloadHeader));
        }

        // A copy: what is handed over stays as it is when the next frame begins.
        byte[] part = _payload.AsSpan(_at, Math.Min(most, _payload.Length - _at)).ToArray();
        _at += part.Length;
        if (_at < _payload.Length) return part;
        _at = 0;
        _frame++;
        _sent++;
        return part;
    }

    protected override byte[]? ClassRequest(ControlRequest request, ReadOnlySpan<byte> data)
    {
        int selector = request.Value >> 8;
        return (request.Index, selector) switch
        {
            (Streaming, 1 or 2) => Negotiate(request, selector == 2),
            (Processing, 2) => Brightness(request, data),
            _ => null,
        };
    }

    // Probe and commit: there is one format, one frame size and one rate, whatever the host proposes.
    private byte[]? Negotiate(ControlRequest request, bool commits)
    {
        if (request.Request == SetCurrent)
        {
            if (!commits) return [];
            _commits++;
            _frame = 0;
            _at = 0;
            return [];
        }

        if (request.Request == GetLength) return [26, 0];
        if (request.Request == GetInfo) return [3];
        byte[] current = new byte[26];
        current[2] = 1;
        current[3] = 1;
        Number(Interval).CopyTo(current, 4);
        Number(FrameBytes).CopyTo(current, 18);
        Number(PayloadHeader + FrameBytes).CopyTo(current, 22);
        return current;
    }

    // GET_CUR, GET_MIN, GET_MAX, GET_RES, GET_LEN, GET_INFO, GET_DEF
    private byte[]? Brightness(ControlRequest request, ReadOnlySpan<byte> data)
    {
        switch (request.Request)
        {
            case SetCurrent when data.Length >= 2:
                _brightness = BinaryPrimitives.ReadInt16LittleEndian(data);
                return [];
            case 0x81: return [(byte)(_brightness & 0xff), (byte)((_brightness >> 8) & 0xff)];
            case 0x82: return [0, 0];
            case 0x83: return [255, 0];
            case 0x84: return [1, 0];
            case GetLength: return [2, 0];
            case GetInfo: return [3];
            case 0x87: return [0, 0];
            default: return null;
        }
    }

    private static byte[] Number(int value)
    {
        byte[] bytes = new byte[4];
        BinaryPrimitives.WriteInt32LittleEndian(bytes, value);
        return bytes;
    }
}
