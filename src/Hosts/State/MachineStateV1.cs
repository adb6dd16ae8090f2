using System.Diagnostics.CodeAnalysis;
using System.Text.Json.Serialization;
using XenUsbDm.Backends.Disk;
using XenUsbDm.Backends.GadgetZero;
using XenUsbDm.Backends.Keyboard;
using XenUsbDm.Frontends.Pci;
using XenUsbDm.Frontends.Xhci.State;
using XenUsbDm.Pipeline.State;

namespace XenUsbDm.Hosts.State;

// State/ is the saved state of a whole machine: the records of its parts put together, and the file they travel in.

/// <summary>A machine's saved state, version 1. Guest memory is not part of it: it moves with the guest.</summary>
/// <param name="Now">Instant of the save, nanoseconds.</param>
/// <param name="PendingMessages">Messages that the guest had not seen (in-process host only).</param>
/// <param name="Pci">The PCI function.</param>
/// <param name="Xhci">The controller, with the transfers in flight.</param>
/// <param name="Pipeline">Ports, queues, counters.</param>
/// <param name="Devices">Devices whose state is kept here, in connector order.</param>
[SuppressMessage("Performance", "CA1819:Properties should not return arrays", Justification = "Saved-state records hold plain arrays.")]
public sealed record MachineStateV1(
    ulong Now,
    ulong PendingMessages,
    PciStateV1 Pci,
    XhciStateV1 Xhci,
    PipelineStateV1 Pipeline,
    DeviceStateV1[] Devices);

/// <summary>The saved state of one attached device: exactly one of the kinds is set, or none for a device that keeps no state.</summary>
/// <param name="Connector">One-based connector.</param>
/// <param name="Speed">UsbSpeed that it was attached at.</param>
/// <param name="Disk">A disk.</param>
/// <param name="GadgetZero">A gadget zero.</param>
/// <param name="Keyboard">A keyboard.</param>
public sealed record DeviceStateV1(int Connector, int Speed, DiskStateV1? Disk, GadgetZeroStateV1? GadgetZero, KeyboardStateV1? Keyboard);

/// <summary>
/// Serialisation without reflection (Native AOT). Nulls where the records allow none, missing and unknown members are
/// refused. Xhci and Pipeline each have an EndpointStateV1; the generator needs distinct names for them.
/// </summary>
[JsonSourceGenerationOptions(
    RespectNullableAnnotations = true,
    RespectRequiredConstructorParameters = true,
    UnmappedMemberHandling = JsonUnmappedMemberHandling.Disallow)]
[JsonSerializable(typeof(MachineStateV1))]
[JsonSerializable(typeof(Frontends.Xhci.State.EndpointStateV1), TypeInfoPropertyName = "XhciEndpointStateV1")]
[JsonSerializable(typeof(Frontends.Xhci.State.EndpointStateV1[]), TypeInfoPropertyName = "XhciEndpointStateV1Array")]
internal sealed partial class MachineStateJson : JsonSerializerContext;
