using System.Collections.Generic;
using System.Linq;
using System.Reflection;
using Xunit;
using XenUsbDm.Pipeline;
using XenUsbDm.Pipeline.Requests;

namespace XenUsbDm.UnitTests.Pipeline.Requests;

public sealed class UsbRequestTests
{
    // DESIGN: every USB request of every guest takes one road; there is no second one.
    [Fact]
    public void Every_way_into_the_pipeline_and_out_of_it_carries_the_one_request_type()
    {
        string[] requestTypes = [.. typeof(UsbPipeline).Assembly.GetExportedTypes().Where(t => t.IsClass && t.Name.EndsWith("Request", System.StringComparison.Ordinal)).Select(t => t.Name)];

        Assert.Equal([nameof(UsbRequest)], requestTypes);
        Assert.Equal(["Submit", "Unlink"], Taking(typeof(UsbPipeline)));
        Assert.Equal(["Completed"], Taking(typeof(IUsbFrontend)));
        Assert.Equal(["Cancel", "ClearHalt", "SetConfiguration", "SetInterface", "Submit"], Taking(typeof(IUsbDevice)));
        Assert.Equal(["Complete"], Taking(typeof(IUsbDeviceHost)));
    }

    [Fact]
    public void Cleared_request_is_as_a_new_one()
    {
        var request = new UsbRequest { StreamId = 3, ActualLength = 5, IntervalMicroframes = 8, StartMicroframe = 9, PacketCount = 1, ShortNotOk = true };
        request.Data.Add(new(0x1000), 64);

        request.Clear();

        var fresh = new UsbRequest();
        Assert.Equal(
            (fresh.Length, fresh.StreamId, fresh.ActualLength, fresh.IntervalMicroframes, fresh.StartMicroframe, fresh.PacketCount, fresh.ShortNotOk, fresh.Status),
            (request.Length, request.StreamId, request.ActualLength, request.IntervalMicroframes, request.StartMicroframe, request.PacketCount, request.ShortNotOk, request.Status));
    }

    private static IEnumerable<string> Taking(System.Type type) => type
        .GetMethods(BindingFlags.Public | BindingFlags.Instance | BindingFlags.DeclaredOnly)
        .Where(m => m.GetParameters().Any(p => p.ParameterType == typeof(UsbRequest)))
        .Select(m => m.Name).Order();
}
