using System;
using System.Text.Json;
using XenUsbDm.Fuzz.Engine;
using XenUsbDm.Hosts.Control;
using XenUsbDm.Hosts.InProcess;

namespace XenUsbDm.Fuzz.Hosts;

/// <summary>
/// A control client from an attacker: the first byte says how the stream is cut, the rest is the stream. Answers are lines of JSON,
/// no more than the input has messages (and one that says what is wrong with it), in bounded memory.
/// </summary>
public sealed class QmpTarget : IFuzzTarget, IDeviceSource
{
    private const long Allocation = 64 << 20;

    // A message has two braces; the answer to the first thing that is none ends the session.
    private const int BytesPerMessage = 2;

    [ThreadStatic]
    private static QmpTarget? _self;

    private readonly InProcessMachine _machine = new(new InProcessOptions { LowMemory = 1 << 20 });
    private readonly MachineControl _control;
    private readonly ControlHub _hub;

    private QmpTarget()
    {
        _control = new MachineControl([new ControlledController(_machine.Machine)], _machine, this, static () => { });
        _hub = new ControlHub(_control, new ControlVersion(1, 0, 0, ""), TimeProvider.System);
        _control.Events = _hub;
    }

    public static string Name => "qmp";

    public static void Fuzz(ReadOnlySpan<byte> input)
    {
        QmpTarget self = _self ??= new QmpTarget();
        self.Run(input);
    }

    public IOpenedDevice? Open(string device, out string error)
    {
        error = "no devices here";
        return null;
    }

    private void Run(ReadOnlySpan<byte> input)
    {
        long before = GC.GetAllocatedBytesForCurrentThread();
        _control.Status = MachineStatus.Running;
        ControlSession session = _hub.Open() ?? throw new OracleException("leak", "a session is left from before");
        int cut = input.IsEmpty || input[0] == 0 ? int.MaxValue : input[0];
        ReadOnlySpan<byte> stream = input.IsEmpty ? input : input[1..];
        long lines = Take(session);
        for (int rounds = 0; !stream.IsEmpty && !session.IsClosing && !session.IsBroken; rounds++)
        {
            if (rounds > 4096) throw new OracleException("livelock", "the session does not take its input");
            int count = Math.Min(Math.Min(cut, stream.Length), session.InputSpace.Length);
            stream[..count].CopyTo(session.InputSpace.Span);
            if (count > 0) session.Received(count);
            stream = stream[count..];
            _hub.Run(_machine.Now);
            lines += Take(session);
        }

        session.InputEnded();
        for (int i = 0; i < 1024 && session.IsReady; i++)
        {
            _hub.Run(_machine.Now);
            lines += Take(session);
        }

        lines += Take(session);
        if (lines > 2 + (input.Length / BytesPerMessage)) throw new OracleException("reply", $"{lines} lines to {input.Length} bytes");
        FuzzCase.Hit(70, (uint)Math.Min(lines, 40), session.IsNegotiated ? 1u : 0, session.IsClosing ? 1u : 0);
        _hub.Close(session);
        _control.Advance(_machine.Now);
        if (!FuzzCase.Thorough && GC.GetAllocatedBytesForCurrentThread() - before > Allocation) throw new OracleException("memory", "a client takes too much memory");
    }

    private static long Take(ControlSession session)
    {
        ReadOnlySpan<byte> output = session.Output;
        if (output.Length > ControlLimits.QueuedBytes) throw new OracleException("memory", $"{output.Length} bytes wait for the client");
        long lines = 0;
        while (!output.IsEmpty)
        {
            int end = output.IndexOf((byte)'\n');
            if (end < 0) throw new OracleException("reply", "a line without an end");
            if (FuzzCase.Thorough) Check(output[..end]);
            if (end > 30) FuzzCase.Hit(71, output[2], output[Math.Min(end - 3, 24)], output[Math.Min(end - 3, 30)]);
            output = output[(end + 1)..];
            lines++;
        }

        int taken = session.Output.Length;
        if (taken > 0) session.Sent(taken);
        return lines;
    }

    private static void Check(ReadOnlySpan<byte> line)
    {
        var reader = new Utf8JsonReader(line);
        try
        {
            while (reader.Read())
            {
                // To its end.
            }
        }
        catch (JsonException e)
        {
            throw new OracleException("reply", e.Message);
        }
    }
}
