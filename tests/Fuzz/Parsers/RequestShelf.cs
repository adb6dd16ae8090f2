using System;
using XenUsbDm.Fuzz.Engine;
using XenUsbDm.Pipeline.Requests;

namespace XenUsbDm.Fuzz.Parsers;

/// <summary>Requests that a target hands to its device and gets back, each once.</summary>
internal sealed class RequestShelf
{
    private const int Requests = 16;

    private readonly UsbRequest[] _requests = new UsbRequest[Requests];
    private readonly bool[] _busy = new bool[Requests];

    public RequestShelf()
    {
        for (int i = 0; i < Requests; i++) _requests[i] = new UsbRequest { Tag = i };
    }

    /// <summary>Requests given back in this case.</summary>
    public int Completed { get; private set; }

    /// <summary>Requests that the device has.</summary>
    public int Busy => Array.FindAll(_busy, static busy => busy).Length;

    /// <summary>All are here again.</summary>
    public void Reset()
    {
        Array.Clear(_busy);
        Completed = 0;
    }

    /// <summary>An empty request; null when the device has all of them.</summary>
    public UsbRequest? Take()
    {
        int index = Array.IndexOf(_busy, false);
        if (index < 0) return null;
        _busy[index] = true;
        _requests[index].Clear();
        return _requests[index];
    }

    /// <summary>The request of a number of the input's, if the device has it.</summary>
    public UsbRequest? Held(int number) => _busy[number % Requests] ? _requests[number % Requests] : null;

    /// <summary>The device gives a request back.</summary>
    public void GiveBack(UsbRequest request)
    {
        int index = (int)request.Tag!;
        if (!_busy[index]) throw new OracleException("contract", "a request was given back twice");
        if (request.ActualLength < 0 || request.ActualLength > request.Length) throw new OracleException("contract", $"{request.ActualLength} of {request.Length} bytes");
        _busy[index] = false;
        Completed++;
    }
}
