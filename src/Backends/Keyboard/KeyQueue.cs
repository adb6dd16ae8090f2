using System;

namespace XenUsbDm.Backends.Keyboard;

/// <summary>
/// Key events between the control side and the host, and the keys that the host knows to be down. Bounded, yet a release
/// is never lost: a press is taken only while there is room for it and for the release of every key held.
/// </summary>
internal sealed class KeyQueue
{
    /// <summary>Events held at most; a guest that polls every 8 ms empties it in a second.</summary>
    internal const int Capacity = 128;

    private const ushort PressBit = 0x100;
    private const byte FirstModifier = 0xe0;
    private const byte LastModifier = 0xe7;
    private const byte ErrorRollOver = 1;
    private const int KeysInReport = 6;

    private readonly ushort[] _events = new ushort[Capacity];
    private readonly bool[] _held = new bool[256];
    private readonly byte[] _down = new byte[Capacity];
    private int _first;
    private int _heldCount;

    /// <summary>Events waiting.</summary>
    internal int Count { get; private set; }

    /// <summary>Usages that the host has been told are down, in the order of pressing.</summary>
    internal ReadOnlySpan<byte> Down => _down.AsSpan(0, DownCount);

    internal int DownCount { get; private set; }

    /// <summary>The control side holds this key down.</summary>
    internal bool IsHeld(byte usage) => _held[usage];

    /// <summary>False when the key is held already, is no key (usage 0-3 are none and error codes), or the queue is full.</summary>
    internal bool TryPress(byte usage)
    {
        if (usage < 4 || _held[usage] || Count + _heldCount + 2 > Capacity) return false;
        _held[usage] = true;
        _heldCount++;
        Append((ushort)(usage | PressBit));
        return true;
    }

    /// <summary>False when the key is not held.</summary>
    internal bool TryRelease(byte usage)
    {
        if (!_held[usage]) return false;
        _held[usage] = false;
        _heldCount--;
        Append(usage);
        return true;
    }

    /// <summary>Takes the oldest event into what the host knows. False when there is none.</summary>
    internal bool TryApply()
    {
        if (Count == 0) return false;
        ushort next = _events[_first];
        _first = (_first + 1) % Capacity;
        Count--;
        byte usage = (byte)(next & 0xff);
        if ((next & PressBit) != 0)
        {
            _down[DownCount++] = usage;
            return true;
        }

        int index = Down.IndexOf(usage);
        if (index >= 0)
        {
            _down.AsSpan(index + 1, DownCount - index - 1).CopyTo(_down.AsSpan(index));
            DownCount--;
        }

        return true;
    }

    /// <summary>Writes the 8-byte boot report (HID 1.11 appendix B.1): more than six keys read as ErrorRollOver, modifiers stay true.</summary>
    internal void WriteReport(Span<byte> report)
    {
        report.Clear();
        int keys = 0;
        foreach (byte usage in Down)
        {
            if (usage is >= FirstModifier and <= LastModifier) report[0] |= (byte)(1 << (usage - FirstModifier));
            else if (keys++ < KeysInReport) report[1 + keys] = usage;
        }

        if (keys > KeysInReport) report[2..].Fill(ErrorRollOver);
    }

    internal void Clear()
    {
        Array.Clear(_held);
        _first = 0;
        Count = 0;
        _heldCount = 0;
        DownCount = 0;
    }

    internal ushort[] CaptureQueue()
    {
        ushort[] queue = new ushort[Count];
        for (int i = 0; i < Count; i++) queue[i] = _events[(_first + i) % Capacity];
        return queue;
    }

    /// <summary>Takes saved keys by pressing and releasing them again; false, and empty, when they could not have come about.</summary>
    internal bool TryRestore(byte[] down, ushort[] queue)
    {
        Clear();
        bool valid = down.Length + queue.Length <= Capacity;
        for (int i = 0; valid && i < down.Length; i++) valid = TryPress(down[i]) && TryApply();
        for (int i = 0; valid && i < queue.Length; i++)
        {
            byte usage = (byte)(queue[i] & 0xff);
            valid = (queue[i] >> 8) switch { 0 => TryRelease(usage), 1 => TryPress(usage), _ => false };
        }

        if (!valid) Clear();
        return valid;
    }

    private void Append(ushort item)
    {
        _events[(_first + Count) % Capacity] = item;
        Count++;
    }
}
