using System.Collections.Generic;
using System.Text;

namespace XenUsbDm.Fuzz.Hosts;

/// <summary>Where the corpora of vfio-user and of the control socket start.</summary>
public static class HostSeeds
{
    public static IEnumerable<(string Target, string Name, byte[] Input)> All()
    {
        byte[] hello = Act(15);
        byte[] cut = Act(7);
        byte[] file = Act(9, 1, 0);
        byte[] events = Act(9, 1, 1);
        yield return (VfioTarget.Name, "hello", [.. hello, .. cut]);
        yield return (VfioTarget.Name, "described", [.. hello, .. Act(0, 3, 16), .. Act(0, 4, 32), .. Act(0, 5, 16), .. Act(0, 6, 16, 0, 2), .. cut]);
        yield return (VfioTarget.Name, "map-unmap", [.. hello, .. cut, .. file, .. Act(0, 1, 1, 3, 0, 8), .. cut, .. Act(0, 2, 1, 0, 0, 8), .. cut]);
        yield return (VfioTarget.Name, "map-lost", [.. hello, .. cut, .. file, .. Act(0, 1, 1, 3, 0, 8), .. cut, .. Act(14, 0), .. Act(0, 8, 0, 0, 7, 4), .. cut]);
        yield return (VfioTarget.Name, "events", [.. hello, .. cut, .. events, .. Act(0, 7, 36, 2, 0, 1), .. cut, .. events, .. Act(0, 7, 20, 0, 0, 1), .. cut, .. Act(13, 1, 1), .. cut]);
        yield return (VfioTarget.Name, "read-write", [.. hello, .. Act(0, 8, 0, 0, 7, 64), .. Act(0, 9, 4, 0, 7, 2, 6), .. Act(0xe0, 9, 4, 0, 7, 2, 6), .. Act(0, 11, 1, 4, 7, 2, 6), .. Act(0, 10), .. cut]);
        yield return (VfioTarget.Name, "one-byte-at-a-time", [.. Act(7, 1), .. hello, .. Act(7, 1, 7), .. Act(7, 1, 7), .. Act(0, 3, 16), .. Act(7, 1, 7), .. Act(7, 1, 7)]);
        yield return (VfioTarget.Name, "no-room", [.. hello, .. cut, .. Act(10, 5), .. Act(0, 8, 0, 0, 0, 255), .. Act(0, 3, 16), .. cut, .. Act(10, 5), .. cut]);
        yield return (VfioTarget.Name, "too-many-descriptors", [.. hello, .. cut, .. Act(9, 17, 1), .. Act(0, 7, 36, 2, 0, 16), .. cut]);
        yield return (VfioTarget.Name, "impossible-length", [.. hello, .. Act(6, 1, 8, 0), .. cut]);
        yield return (VfioTarget.Name, "reply-to-nothing", [.. hello, .. Act(6, 1, 13, 2, 1), .. cut]);
        yield return (VfioTarget.Name, "version-json", [.. Act(11, 1, 2), .. Act(11, 6, 9), .. Act(11, 9, 22), .. Act(12), .. cut]);
        yield return (VfioTarget.Name, "gone-in-the-middle", [.. hello, .. cut, .. events, .. Act(6, 1, 8, 7), .. cut, .. Act(14, 9), .. cut]);
        yield return (QmpTarget.Name, "negotiated", Text(0, "{\"execute\":\"qmp_capabilities\"}{\"execute\":\"query-usb\",\"id\":1}"));
        yield return (QmpTarget.Name, "commands", Text(7, """
            {"execute":"qmp_capabilities","arguments":{"enable":[]}} {"execute":"query-status"}{"execute":"query-commands"}
            {"execute":"device-attach","arguments":{"port":"1","device":"zero"}}{"execute":"device-detach","arguments":{"port":"1.2"}}
            {"execute":"send-key","arguments":{"keys":[{"type":"qcode","data":"a"}],"hold-time":10}}{"execute":"inspect","arguments":{"path":"/xhci"}}{"execute":"quit"}
            """));
        yield return (QmpTarget.Name, "strings", Text(1, "{\"execute\":\"qmp_capabilities\",\"id\":\"\\\"}{\\\\\\ud800\"}{\"execute\":\"\\u0000\"}"));
        yield return (QmpTarget.Name, "deep", Text(0, "{\"execute\":" + new string('[', 40)));
        yield return (QmpTarget.Name, "garbage", Text(3, "hello"));
        yield return (QmpTarget.Name, "unbalanced", Text(0, "{\"execute\":[}}{\"execute\":\"qmp_capabilities\"}"));
        yield return (QmpTarget.Name, "empty", []);
    }

    private static byte[] Act(params byte[] bytes)
    {
        byte[] action = new byte[8];
        bytes.CopyTo(action, 0);
        return action;
    }

    private static byte[] Text(byte cut, string text) => [cut, .. Encoding.UTF8.GetBytes(text)];
}
