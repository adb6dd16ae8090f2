using System;
using System.Collections.Generic;
using System.Linq;
using System.Text;
using XenUsbDm.Hosts.Xen;
using XenUsbDm.Native.Xen;
using Xunit;

namespace XenUsbDm.UnitTests.Native.Xen;

/// <summary>Structures and numbers are Xen's: assertions made of this project's constants are compiled against its headers.</summary>
[Collection(nameof(RunsAlone))]
public sealed class XenLayoutTests
{
    [FactWithHeaders("/usr/include/xen/hvm/ioreq.h", "libxen-dev")]
    public void Constants_agree_with_xens_headers() => Assert.Equal((0, ""), CProgram.CompileAndRun(Assertions(), "-D__XEN_TOOLS__"));

    [Fact]
    public void Assertions_are_made_of_every_constant()
    {
        string text = Assertions();

        Assert.All(
            typeof(IoreqLayout).GetFields().Select(field => $"IoreqLayout.{field.Name}")
                .Concat(Enum.GetNames<IoreqState>().Select(name => $"IoreqState.{name}"))
                .Concat(Enum.GetNames<IoreqType>().Select(name => $"IoreqType.{name}"))
                .Concat(XenAbi.Values.Select(value => $"XenAbi.{value.Name}")),
            name => Assert.Contains($"/* {name} */", text));
    }

    private static string Assertions()
    {
        var text = new StringBuilder();
        string[] headers =
        [
            "stddef.h", "stdint.h", "errno.h", "poll.h", "sys/mman.h", "xenctrl.h", "xen/hvm/ioreq.h", "xen/hvm/dm_op.h", "xen/memory.h",
            "xen/grant_table.h", "xengnttab.h", "xenstore.h", "xendevicemodel.h", "xenforeignmemory.h", "xenevtchn.h", "xentoolcore.h",
        ];
        foreach (string header in headers) text.AppendLine($"#include <{header}>");
        foreach ((string name, string expression) in Expressions())
            text.AppendLine($"_Static_assert(({expression}) == {Value(name)}, \"{name}\"); /* {name} */");
        text.AppendLine(Prototypes);
        // Bit fields have no address: a program looks where they are.
        text.AppendLine("union layout { ioreq_t request; uint8_t bytes[sizeof(ioreq_t)]; };");
        text.AppendLine("int main(void) { int wrong = 0;");
        foreach ((string name, string field) in new[] { ("StateMask", ".state = 0xf"), ("DataIsPointer", ".data_is_ptr = 1"), ("Read", ".dir = IOREQ_READ"), ("Down", ".df = 1") })
        {
            text.AppendLine($"{{ union layout l = {{ .request = {{ {field} }} }}; for (int i = 0; i < sizeof l; i++) " +
                $"wrong |= l.bytes[i] != (i == {IoreqLayout.Flags} ? {Value($"IoreqLayout.{name}")} : 0); }} /* IoreqLayout.{name} */");
        }

        text.AppendLine("return wrong; }");
        return text.ToString();
    }

    private static long Value(string name)
    {
        string[] parts = name.Split('.', 2);
        return parts[0] switch
        {
            "IoreqLayout" => Convert.ToInt64(typeof(IoreqLayout).GetField(parts[1])!.GetRawConstantValue(), null),
            "IoreqState" => (long)Enum.Parse<IoreqState>(parts[1]),
            "IoreqType" => (long)Enum.Parse<IoreqType>(parts[1]),
            _ => XenAbi.Values.Single(value => value.Name == parts[1]).Value,
        };
    }

    private static IEnumerable<(string Name, string Expression)> Expressions() =>
    [
        ("IoreqLayout.PageBytes", "XC_PAGE_SIZE"),
        ("IoreqLayout.Bytes", "sizeof(ioreq_t)"),
        ("IoreqLayout.Address", "offsetof(ioreq_t, addr)"),
        ("IoreqLayout.Data", "offsetof(ioreq_t, data)"),
        ("IoreqLayout.Count", "offsetof(ioreq_t, count)"),
        ("IoreqLayout.Size", "offsetof(ioreq_t, size)"),
        ("IoreqLayout.EventPort", "offsetof(ioreq_t, vp_eport)"),
        // Bit fields have no offset: they lie between the padding and the type.
        ("IoreqLayout.Flags", "offsetof(ioreq_t, _pad0) + sizeof(((ioreq_t *)0)->_pad0)"),
        ("IoreqLayout.Type", "offsetof(ioreq_t, type)"),
        ("IoreqState.None", "STATE_IOREQ_NONE"),
        ("IoreqState.Ready", "STATE_IOREQ_READY"),
        ("IoreqState.InProcess", "STATE_IOREQ_INPROCESS"),
        ("IoreqState.Answered", "STATE_IORESP_READY"),
        ("IoreqType.Port", "IOREQ_TYPE_PIO"),
        ("IoreqType.Memory", "IOREQ_TYPE_COPY"),
        ("IoreqType.PciConfig", "IOREQ_TYPE_PCI_CONFIG"),
        ("IoreqType.TimeOffset", "IOREQ_TYPE_TIMEOFFSET"),
        ("IoreqType.Invalidate", "IOREQ_TYPE_INVALIDATE"),
        .. XenAbi.Values.Select(value => ($"XenAbi.{value.Name}", value.Expression)),
    ];

    // Declared again as they are called here: one that differs does not compile.
    private const string Prototypes = """
        xendevicemodel_handle *xendevicemodel_open(xentoollog_logger *, unsigned);
        int xendevicemodel_create_ioreq_server(xendevicemodel_handle *, uint16_t, int, uint16_t *);
        int xendevicemodel_destroy_ioreq_server(xendevicemodel_handle *, uint16_t, uint16_t);
        int xendevicemodel_set_ioreq_server_state(xendevicemodel_handle *, uint16_t, uint16_t, int);
        int xendevicemodel_map_io_range_to_ioreq_server(xendevicemodel_handle *, uint16_t, uint16_t, int, uint64_t, uint64_t);
        int xendevicemodel_unmap_io_range_from_ioreq_server(xendevicemodel_handle *, uint16_t, uint16_t, int, uint64_t, uint64_t);
        int xendevicemodel_map_pcidev_to_ioreq_server(xendevicemodel_handle *, uint16_t, uint16_t, uint16_t, uint8_t, uint8_t, uint8_t);
        int xendevicemodel_unmap_pcidev_from_ioreq_server(xendevicemodel_handle *, uint16_t, uint16_t, uint16_t, uint8_t, uint8_t, uint8_t);
        int xendevicemodel_inject_msi(xendevicemodel_handle *, uint16_t, uint64_t, uint32_t);
        int xendevicemodel_set_pci_intx_level(xendevicemodel_handle *, uint16_t, uint16_t, uint8_t, uint8_t, uint8_t, unsigned);
        int xendevicemodel_modified_memory_bulk(xendevicemodel_handle *, uint16_t, struct xen_dm_op_modified_memory_extent *, uint32_t);
        int xendevicemodel_nr_vcpus(xendevicemodel_handle *, uint16_t, unsigned *);
        xenforeignmemory_handle *xenforeignmemory_open(xentoollog_logger *, unsigned);
        void *xenforeignmemory_map2(xenforeignmemory_handle *, uint32_t, void *, int, int, size_t, const xen_pfn_t *, int *);
        int xenforeignmemory_unmap(xenforeignmemory_handle *, void *, size_t);
        xenforeignmemory_resource_handle *xenforeignmemory_map_resource(
            xenforeignmemory_handle *, uint16_t, unsigned, unsigned, unsigned long, unsigned long, void **, int, int);
        int xenforeignmemory_unmap_resource(xenforeignmemory_handle *, xenforeignmemory_resource_handle *);
        xenevtchn_handle *xenevtchn_open(xentoollog_logger *, unsigned);
        int xenevtchn_fd(xenevtchn_handle *);
        int xenevtchn_bind_interdomain(xenevtchn_handle *, uint32_t, uint32_t);
        int xenevtchn_unbind(xenevtchn_handle *, uint32_t);
        int xenevtchn_notify(xenevtchn_handle *, uint32_t);
        int xenevtchn_pending(xenevtchn_handle *);
        int xenevtchn_unmask(xenevtchn_handle *, uint32_t);
        xengnttab_handle *xengnttab_open(xentoollog_logger *, unsigned);
        void *xengnttab_map_domain_grant_refs(xengnttab_handle *, uint32_t, uint32_t, uint32_t *, int);
        int xengnttab_unmap(xengnttab_handle *, void *, uint32_t);
        int xengnttab_grant_copy(xengnttab_handle *, uint32_t, xengnttab_grant_copy_segment_t *);
        struct xs_handle *xs_open(unsigned long);
        void xs_close(struct xs_handle *);
        int xs_fileno(struct xs_handle *);
        void *xs_read(struct xs_handle *, uint32_t, const char *, unsigned *);
        bool xs_watch(struct xs_handle *, const char *, const char *);
        char **xs_check_watch(struct xs_handle *);
        bool xs_is_domain_introduced(struct xs_handle *, unsigned);
        int xentoolcore_restrict_all(uint16_t);
        """;
}
