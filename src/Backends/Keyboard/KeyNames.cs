using System;
using System.Collections.Generic;

namespace XenUsbDm.Backends.Keyboard;

/// <summary>
/// Names of keys as QMP's QKeyCode spells them, and their usages on the keyboard page (HID Usage Tables 1.12 §10). A
/// number ("0x04") names a usage directly.
/// </summary>
public static class KeyNames
{
    // Positions follow the usage page: a run of names starts at the usage given first.
    private static readonly (byte First, string Names)[] Runs =
    [
        (0x04, "a b c d e f g h i j k l m n o p q r s t u v w x y z 1 2 3 4 5 6 7 8 9 0"),
        (0x28, "ret esc backspace tab spc minus equal bracket_left bracket_right backslash"),
        (0x33, "semicolon apostrophe grave_accent comma dot slash caps_lock"),
        (0x3a, "f1 f2 f3 f4 f5 f6 f7 f8 f9 f10 f11 f12 print scroll_lock pause insert home pgup delete end pgdn right left down up"),
        (0x53, "num_lock kp_divide kp_multiply kp_subtract kp_add kp_enter kp_1 kp_2 kp_3 kp_4 kp_5 kp_6 kp_7 kp_8 kp_9 kp_0 kp_decimal"),
        (0x64, "less compose power kp_equals f13 f14 f15 f16 f17 f18 f19 f20 f21 f22 f23 f24 open help props front stop again undo cut copy paste find audiomute volumeup volumedown"),
        (0x85, "kp_comma"),
        (0x87, "ro katakanahiragana yen henkan muhenkan"),
        (0x90, "lang1 lang2 katakana hiragana zenkakuhankaku"),
        (0xe0, "ctrl shift alt meta_l ctrl_r shift_r alt_r meta_r"),
        (0x46, "sysrq"),
        (0x55, "asterisk"),
        (0x65, "menu"),
    ];

    private static readonly Dictionary<string, byte> Usages = Build();

    /// <summary>Every name known.</summary>
    public static IReadOnlyCollection<string> All => Usages.Keys;

    /// <summary>The usage of a key's name; false when there is no such key.</summary>
    public static bool TryParse(string? name, out byte usage)
    {
        usage = 0;
        if (name is null) return false;
        if (Usages.TryGetValue(name, out usage)) return true;
        return name.StartsWith("0x", StringComparison.Ordinal)
            && byte.TryParse(name.AsSpan(2), System.Globalization.NumberStyles.AllowHexSpecifier, System.Globalization.CultureInfo.InvariantCulture, out usage);
    }

    private static Dictionary<string, byte> Build()
    {
        var usages = new Dictionary<string, byte>(StringComparer.Ordinal);
        foreach ((byte first, string names) in Runs)
        {
            byte usage = first;
            foreach (string name in names.Split(' ')) usages.Add(name, usage++);
        }

        return usages;
    }
}
