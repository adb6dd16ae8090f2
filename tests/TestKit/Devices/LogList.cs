using System;
using System.Collections.Generic;
using Microsoft.Extensions.Logging;

namespace XenUsbDm.TestKit.Devices;

/// <summary>A logger that keeps its lines.</summary>
public sealed class LogList : ILogger
{
    public List<string> Lines { get; } = [];

    public IDisposable? BeginScope<TState>(TState state)
        where TState : notnull => null;

    public bool IsEnabled(LogLevel logLevel) => true;

    public void Log<TState>(LogLevel logLevel, EventId eventId, TState state, Exception? exception, Func<TState, Exception?, string> formatter)
    {
        ArgumentNullException.ThrowIfNull(formatter);
        Lines.Add($"{logLevel}: {formatter(state, exception)}");
    }
}
