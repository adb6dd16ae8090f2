using System;
using System.Collections.Generic;
using XenUsbDm.Core.Usb;

namespace XenUsbDm.TestKit.Guest;

/// <summary>A device on a root port as the guest's USB stack sees it: slot, contexts, descriptors, pipes.</summary>
public sealed partial class UsbDeviceHandle
{
    private const int BounceLength = 65536;

    private GuestInputContext _input;
    private GuestBuffer _bounce;

    private UsbDeviceHandle(XhciDriver driver, int port, int slot)
    {
        Driver = driver;
        Port = port;
        Slot = slot;
    }

    public XhciDriver Driver { get; }

    public int Port { get; }

    public int Slot { get; }

    public UsbSpeed Speed { get; private set; }

    public GuestDeviceContext Context { get; private set; }

    public GuestPipe Control { get; private set; } = null!;

    /// <summary>The 18 bytes of the device descriptor.</summary>
    public byte[] DeviceDescriptor { get; private set; } = [];

    /// <summary>The active configuration, whole.</summary>
    public byte[] ConfigurationDescriptor { get; private set; } = [];

    public GuestConfiguration? Configuration { get; private set; }

    public ushort VendorId => (ushort)(DeviceDescriptor[8] | (DeviceDescriptor[9] << 8));

    public ushort ProductId => (ushort)(DeviceDescriptor[10] | (DeviceDescriptor[11] << 8));

    /// <summary>USB device address that the controller assigned.</summary>
    public int Address => (int)Context.Slot.DeviceAddress;

    /// <summary>The input context, for odd commands; the handle fills it in anew for each of its own.</summary>
    public GuestInputContext Input => _input;

    /// <summary>Reset, address, descriptors, configuration (§4.3). <paramref name="configuration"/> is an index; -1 leaves the device addressed.</summary>
    public static UsbDeviceHandle Enumerate(XhciDriver driver, int port, int configuration = 0)
    {
        ArgumentNullException.ThrowIfNull(driver);
        driver.ResetPort(port);
        UsbDeviceHandle device = Open(driver, port);
        device.AssignAddress();
        device.ReadDeviceDescriptor();
        if (configuration >= 0) device.SetConfiguration(device.ReadConfiguration(configuration));
        return device;
    }

    /// <summary>Enable Slot, device context, control ring and input context; no Address Device yet (§4.3.2 to §4.3.3).</summary>
    public static UsbDeviceHandle Open(XhciDriver driver, int port)
    {
        ArgumentNullException.ThrowIfNull(driver);
        CommandResult enabled = driver.EnableSlot(driver.ProtocolOf(port).SlotType).Require("Enable Slot");
        var device = new UsbDeviceHandle(driver, port, enabled.Slot)
        {
            Context = driver.NewDeviceContext(),
            _input = driver.NewInputContext(),
        };
        driver.SetDeviceContext(enabled.Slot, device.Context.Buffer.Address);
        uint speed = (uint)driver.PortSpeed(port);
        device.Speed = speed switch
        {
            1 => UsbSpeed.Full,
            2 => UsbSpeed.Low,
            3 => UsbSpeed.High,
            4 => UsbSpeed.Super,
            _ => throw new GuestDriverException($"port {port} has speed id {speed}"),
        };
        ushort packet = device.Speed switch { UsbSpeed.Super => 512, UsbSpeed.High => 64, _ => 8 };
        device.MakeControlPipe(packet);
        GuestInputContext input = device._input;
        input.AddFlags = 3;
        GuestContext slot = input.Slot;
        slot.Speed = speed;
        slot.Entries = 1;
        slot.RootPort = (uint)port;
        device.FillControlEndpoint();
        return device;
    }

    /// <summary>Address Device as the options say; the input context must be as <see cref="Open"/> left it.</summary>
    public void AssignAddress()
    {
        if (Driver.Options.BlockSetAddressFirst)
        {
            Driver.AddressDevice(Slot, _input.Buffer.Address, blockSetAddress: true).Require("Address Device (BSR)");
            AdjustControlPacket();
        }

        Driver.AddressDevice(Slot, _input.Buffer.Address).Require("Address Device");
        if (!Driver.Options.BlockSetAddressFirst) AdjustControlPacket();
    }

    /// <summary>Reads the whole device descriptor.</summary>
    public void ReadDeviceDescriptor()
    {
        DeviceDescriptor = new byte[18];
        if (GetDescriptor(DescriptorType.Device, 0, DeviceDescriptor) != 18) throw new GuestDriverException("short device descriptor");
    }

    /// <summary>Reads a configuration descriptor by index.</summary>
    public GuestConfiguration ReadConfiguration(int index)
    {
        Span<byte> head = stackalloc byte[9];
        if (GetDescriptor(DescriptorType.Configuration, index, head) != 9) throw new GuestDriverException("short configuration descriptor");
        ConfigurationDescriptor = new byte[head[2] | (head[3] << 8)];
        GetDescriptor(DescriptorType.Configuration, index, ConfigurationDescriptor);
        return GuestConfiguration.Parse(ConfigurationDescriptor);
    }

    /// <summary>GET_DESCRIPTOR; returns the bytes that came.</summary>
    public int GetDescriptor(DescriptorType type, int index, Span<byte> destination, ushort language = 0) =>
        ControlIn(0x80, StandardRequest.GetDescriptor, (ushort)(((int)type << 8) | index), language, destination);

    /// <summary>A string descriptor in US English, without its header; empty for index 0.</summary>
    public string ReadString(int index)
    {
        if (index == 0) return string.Empty;
        Span<byte> bytes = stackalloc byte[255];
        int length = GetDescriptor(DescriptorType.String, index, bytes, 0x0409);
        return length < 2 ? string.Empty : System.Text.Encoding.Unicode.GetString(bytes[2..Math.Min(length, bytes[0])]);
    }

    /// <summary>A control transfer with its data in guest memory; not judged.</summary>
    public TransferCompletion RunControl(SetupPacket setup, ulong address, int length) =>
        Control.Wait(Control.SubmitControl(setup, address, length));

    /// <summary>A control read. A stall is recovered from and thrown.</summary>
    public int ControlIn(byte type, StandardRequest request, ushort value, ushort index, Span<byte> destination) =>
        ControlIn(new SetupPacket(type, (byte)request, value, index, (ushort)destination.Length), destination);

    public int ControlIn(SetupPacket setup, Span<byte> destination)
    {
        GuestBuffer bounce = Bounce();
        TransferCompletion done = Judge(RunControl(setup, bounce.Address, destination.Length), setup);
        Driver.Platform.Memory(bounce.Address, done.Actual).CopyTo(destination);
        return done.Actual;
    }

    /// <summary>A control write, or a request without data.</summary>
    public int ControlOut(SetupPacket setup, ReadOnlySpan<byte> data = default)
    {
        GuestBuffer bounce = Bounce();
        if (!data.IsEmpty) data.CopyTo(Driver.Platform.Memory(bounce.Address, data.Length));
        return Judge(RunControl(setup, bounce.Address, data.Length), setup).Actual;
    }

    /// <summary>CLEAR_FEATURE(ENDPOINT_HALT) (USB 2.0 §9.4.5).</summary>
    public void ClearHalt(GuestPipe pipe)
    {
        ArgumentNullException.ThrowIfNull(pipe);
        ControlOut(new SetupPacket(0x02, (byte)StandardRequest.ClearFeature, 0, pipe.Endpoint.Address, 0));
    }

    /// <summary>Everything after a stall on a bulk or interrupt pipe: Reset Endpoint, new dequeue pointer, CLEAR_FEATURE.</summary>
    public void RecoverFromStall(GuestPipe pipe, bool keepRest = false)
    {
        ArgumentNullException.ThrowIfNull(pipe);
        ClearHalt(pipe);
        pipe.Recover(keepRest);
    }

    /// <summary>Disables the slot and gives its memory back; for devices unplugged or no longer wanted.</summary>
    public CommandResult Close()
    {
        CommandResult result = Driver.DisableSlot(Slot);
        Driver.SetDeviceContext(Slot, 0);
        foreach (GuestPipe pipe in Pipes) Forget(pipe);
        Driver.Register(Slot, 1, null);
        Control.FreeMemory();
        Driver.Memory.Free(Context.Buffer);
        Driver.Memory.Free(_input.Buffer);
        Driver.Memory.Free(_bounce);
        _bounce = default;
        return result;
    }

    private TransferCompletion Judge(TransferCompletion done, SetupPacket setup)
    {
        if (done.Ok) return done;
        if (Control.Halted) Control.Recover();
        throw new GuestDriverException($"control request {setup}", done.Code);
    }

    private GuestBuffer Bounce()
    {
        if (_bounce.Length == 0) _bounce = Driver.AllocateBuffer(BounceLength);
        return _bounce;
    }

    private void MakeControlPipe(ushort packet)
    {
        var endpoint = new GuestEndpoint(0, 0, 0, 0, packet, 0);
        List<(int, GuestRing)> rings = Control is null ? [(0, Driver.TransferRing())] : [(0, Control.Ring)];
        Control = new GuestPipe(Driver, Slot, endpoint, rings);
        Driver.Register(Slot, 1, Control);
    }

    private void FillControlEndpoint() =>
        XhciDriver.FillEndpoint(_input.Endpoint(1), Control.Endpoint, Speed, Control.Ring.Base);

    // The first eight bytes tell bMaxPacketSize0; full speed may differ from what was assumed (§4.3.4, §4.6.7).
    private void AdjustControlPacket()
    {
        Span<byte> head = stackalloc byte[8];
        if (GetDescriptor(DescriptorType.Device, 0, head) != 8) throw new GuestDriverException("short device descriptor");
        ushort packet = Speed == UsbSpeed.Super ? (ushort)(1 << head[7]) : head[7];
        if (packet == Control.Endpoint.MaxPacketSize) return;
        MakeControlPipe(packet);
        GuestInputContext input = _input;
        input.AddFlags = 2;
        input.DropFlags = 0;
        GuestContext endpoint = input.Endpoint(1);
        endpoint.MaxPacketSize = packet;
        Driver.EvaluateContext(Slot, input.Buffer.Address).Require("Evaluate Context");
        input.AddFlags = 3;
        endpoint.DequeuePointer = Control.Ring.EnqueuePointer | Control.Ring.EnqueueCycle;
    }
}
