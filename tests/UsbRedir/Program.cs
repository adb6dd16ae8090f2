using System;
using System.IO;
using System.Net.Sockets;
using XenUsbDm.UsbRedir;

// A USB device behind QEMU's usb-redir: listens on a Unix socket, serves the one connection that QEMU makes, and ends with it.
// Headset and Camera are what the guest sees, RedirConnection is the protocol.
if (args is not [string kind and ("headset" or "camera"), string socketPath, string dataPath])
{
    Console.Error.WriteLine("""
        usage: XenUsbDm.UsbRedir headset SOCKET HEARD     writes to HEARD what is played to it, and says the same into its microphone
               XenUsbDm.UsbRedir camera SOCKET FRAMES     films what is in FRAMES, one frame of 160 x 120 YUY2 after the other
        QEMU connects with -chardev socket,path=SOCKET,id=ID -device usb-redir,chardev=ID. What the device counted is printed at the end.
        """);
    return 2;
}

using var listener = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
listener.Bind(new UnixDomainSocketEndPoint(socketPath));
listener.Listen(1);
using Socket peer = listener.Accept();
using var stream = new NetworkStream(peer);
using Stream heard = kind == "headset" ? File.Create(dataPath) : Stream.Null;
RedirDevice device = kind == "headset" ? new Headset(heard) : new Camera(File.ReadAllBytes(dataPath));
var connection = new RedirConnection(device);
byte[] buffer = new byte[1 << 16];
Exception? flaw = null;
try
{
    int got;
    do
    {
        // The first turn says hello.
        stream.Write(connection.TakeOutput());
        got = stream.Read(buffer);
        connection.Receive(buffer.AsSpan(0, got));
    }
    while (got > 0);
}
catch (Exception error) when (error is IOException or InvalidDataException)
{
    // QEMU may end while we write: what was counted until then is what there is.
    flaw = error;
}

foreach (string line in device.Report()) Console.WriteLine(line);
if (flaw is InvalidDataException) Console.WriteLine($"protocol: {flaw.Message}");
return flaw is InvalidDataException ? 1 : 0;
