using System;
using System.Linq;
using System.Reflection;
using System.Runtime.InteropServices;
using System.Text;
using XenUsbDm.Backends.LibUsb;
using XenUsbDm.Native.LibUsb;
using Xunit;
using Calls = XenUsbDm.Native.LibUsb.LibUsb;

namespace XenUsbDm.UnitTests.Native.LibUsb;

/// <summary>Structures and numbers are libusb's: assertions made of this project's constants are compiled against its header.</summary>
[Collection(nameof(RunsAlone))]
public sealed class LibUsbLayoutTests
{
    private const BindingFlags Everything = BindingFlags.Static | BindingFlags.Instance | BindingFlags.Public | BindingFlags.NonPublic | BindingFlags.DeclaredOnly;

    [FactWithHeaders("/usr/include/libusb-1.0/libusb.h", "libusb-1.0-0-dev")]
    public void Constants_agree_with_libusbs_header() => Assert.Equal((0, ""), CProgram.CompileAndRun(Assertions()));

    [Fact]
    public void Assertions_are_made_of_every_constant()
    {
        string text = Assertions();

        Assert.All(
            typeof(Calls).GetFields(Everything).Where(field => field.IsLiteral && field.FieldType != typeof(string)).Select(field => field.Name)
                .Concat(typeof(Calls).GetNestedTypes(Everything).SelectMany(type => type.GetFields(Everything).Select(field => $"{type.Name}.{field.Name}").Append(type.Name)))
                .Concat(Enum.GetNames<HostError>().Select(name => $"HostError.{name}"))
                .Concat(Enum.GetNames<HostTransferStatus>().Select(name => $"HostTransferStatus.{name}")),
            name => Assert.Contains($"/* {name} */", text));
    }

    [Fact]
    public void Every_function_that_is_called_is_declared_again()
    {
        string[] functions = [.. typeof(Calls).GetMethods(Everything).Select(method => method.GetCustomAttribute<DllImportAttribute>()?.EntryPoint).OfType<string>()];

        Assert.NotEmpty(functions);
        Assert.All(functions, name => Assert.Contains($"{name}(", Prototypes));
    }

    private static string Assertions()
    {
        var text = new StringBuilder();
        foreach (string header in new[] { "stddef.h", "stdint.h", "poll.h", "sys/time.h", "libusb-1.0/libusb.h" }) text.AppendLine($"#include <{header}>");
        foreach ((string name, long value, string expression) in LibUsbAbi.Values)
            text.AppendLine($"_Static_assert(({expression}) == {value}, \"{name}\"); /* {name} */");
        text.AppendLine(Prototypes);
        text.AppendLine("int main(void) { return 0; }");
        return text.ToString();
    }

    // Declared again as they are called here: one that differs does not compile.
    private const string Prototypes = """
        int libusb_set_option(libusb_context *, enum libusb_option, ...);
        int libusb_init(libusb_context **);
        void libusb_exit(libusb_context *);
        const struct libusb_pollfd **libusb_get_pollfds(libusb_context *);
        void libusb_free_pollfds(const struct libusb_pollfd **);
        void libusb_set_pollfd_notifiers(libusb_context *, void (*)(int, short, void *), void (*)(int, void *), void *);
        int libusb_handle_events_timeout_completed(libusb_context *, struct timeval *, int *);
        int libusb_wrap_sys_device(libusb_context *, intptr_t, libusb_device_handle **);
        void libusb_close(libusb_device_handle *);
        int libusb_set_configuration(libusb_device_handle *, int);
        int libusb_claim_interface(libusb_device_handle *, int);
        int libusb_release_interface(libusb_device_handle *, int);
        int libusb_set_interface_alt_setting(libusb_device_handle *, int, int);
        int libusb_clear_halt(libusb_device_handle *, unsigned char);
        int libusb_reset_device(libusb_device_handle *);
        int libusb_kernel_driver_active(libusb_device_handle *, int);
        int libusb_detach_kernel_driver(libusb_device_handle *, int);
        int libusb_attach_kernel_driver(libusb_device_handle *, int);
        int libusb_alloc_streams(libusb_device_handle *, uint32_t, unsigned char *, int);
        int libusb_free_streams(libusb_device_handle *, unsigned char *, int);
        unsigned char *libusb_dev_mem_alloc(libusb_device_handle *, size_t);
        int libusb_dev_mem_free(libusb_device_handle *, unsigned char *, size_t);
        struct libusb_transfer *libusb_alloc_transfer(int);
        void libusb_free_transfer(struct libusb_transfer *);
        int libusb_submit_transfer(struct libusb_transfer *);
        int libusb_cancel_transfer(struct libusb_transfer *);
        void libusb_transfer_set_stream_id(struct libusb_transfer *, uint32_t);
        static void called_back(struct libusb_transfer *transfer) { }
        libusb_transfer_cb_fn callback = called_back;
        """;
}
