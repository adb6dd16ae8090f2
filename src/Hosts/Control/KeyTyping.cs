using System;
using System.Collections.Generic;
using XenUsbDm.Backends.Keyboard;
using XenUsbDm.Core.Inspect;
using XenUsbDm.Core.Time;

namespace XenUsbDm.Hosts.Control;

/// <summary>Keys that send-key asked for: pressed together, released after their hold time, one chord after the other.</summary>
internal sealed class KeyTyping : IInspectable, ITimed
{
    private readonly Queue<Chord> _waiting = new();
    private Chord? _held;
    private VirtualTime _release;
    private long _refused;

    /// <inheritdoc/>
    public VirtualTime NextDeadline => _held is not null ? _release : _waiting.Count > 0 ? VirtualTime.Zero : VirtualTime.Never;

    /// <summary>Takes a chord on; false when too many wait.</summary>
    public bool TryAdd(VirtualTime now, BootKeyboard keyboard, IReadOnlyList<byte> usages, ulong hold)
    {
        if (_waiting.Count >= ControlLimits.WaitingChords) return false;
        _waiting.Enqueue(new Chord(keyboard, [.. usages], hold));
        Advance(now);
        return true;
    }

    /// <summary>The keyboard is gone, and what was to be typed on it.</summary>
    public void Forget(BootKeyboard keyboard)
    {
        if (ReferenceEquals(_held?.Keyboard, keyboard)) _held = null;
        for (int count = _waiting.Count; count > 0; count--)
        {
            Chord chord = _waiting.Dequeue();
            if (!ReferenceEquals(chord.Keyboard, keyboard)) _waiting.Enqueue(chord);
        }
    }

    /// <inheritdoc/>
    public void Advance(VirtualTime now)
    {
        // Each round ends a chord or holds one, so the queue's bound is the loop's.
        while (true)
        {
            if (_held is not null)
            {
                if (now < _release) return;
                for (int i = _held.Usages.Length - 1; i >= 0; i--) _held.Keyboard.Release(_held.Usages[i]);
                _held = null;
            }

            if (!_waiting.TryDequeue(out Chord? next)) return;
            foreach (byte usage in next.Usages)
            {
                if (!next.Keyboard.Press(usage)) _refused++;
            }

            _held = next;
            _release = now.Plus(next.Hold);
        }
    }

    /// <inheritdoc/>
    public void Inspect(InspectWriter writer)
    {
        ArgumentNullException.ThrowIfNull(writer);
        writer.Number("waiting", _waiting.Count);
        writer.Text("held", _held is null ? null : Convert.ToHexStringLower(_held.Usages));
        writer.Number("refused", _refused);
    }

    private sealed record Chord(BootKeyboard Keyboard, byte[] Usages, ulong Hold);
}
