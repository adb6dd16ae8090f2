using System.Linq;
using XenUsbDm.Core.Usb;
using Xunit;

namespace XenUsbDm.UnitTests.Core.Usb;

public sealed class UsbVocabularyTests
{
    [Fact]
    public void EndpointAddress_every_byte_has_an_index_that_names_number_and_direction()
    {
        for (int value = 0; value <= byte.MaxValue; value++)
        {
            var address = new EndpointAddress((byte)value);

            Assert.Equal(value & 0x8f, address.Value);
            Assert.Equal(address.Number == 0 ? 0 : (address.Number * 2) + (address.IsIn ? 1 : 0), address.Index);
            Assert.Equal(address, new EndpointAddress(address.Number, address.IsIn));
        }
    }

    [Theory]
    [InlineData(0x00, "ep0")]
    [InlineData(0x80, "ep0")]
    [InlineData(0x81, "ep1in")]
    [InlineData(0x0f, "ep15out")]
    public void EndpointAddress_text_is_the_name_in_trees(byte value, string text) =>
        Assert.Equal(text, new EndpointAddress(value).ToString());

    [Fact]
    public void SetupPacket_fields_partition_the_word()
    {
        var setup = new SetupPacket(0xa1, 0x5a, 0x1234, 0x5678, 0x9abc);

        Assert.Equal(0x9abc_5678_1234_5aa1ul, setup.Raw);
        Assert.Equal(0xa1, setup.RequestType);
        Assert.Equal(0x5a, setup.Request);
        Assert.Equal(0x1234, setup.Value);
        Assert.Equal(0x5678, setup.Index);
        Assert.Equal(0x9abc, setup.Length);
        Assert.True(setup.IsIn);
        Assert.Equal("a1 5a value 1234 index 5678 length 39612", setup.ToString());
    }

    [Fact]
    public void SetupPacket_Is_compares_all_of_bmRequestType()
    {
        byte[] types = Enumerable.Range(0, 256).Select(t => (byte)t)
            .Where(t => new SetupPacket(t, 5, 0, 0, 0).Is(0, StandardRequest.SetAddress)).ToArray();

        Assert.Equal([0], types);
        Assert.False(new SetupPacket(0, 9, 0, 0, 0).Is(0, StandardRequest.SetAddress));
    }

    [Theory]
    [InlineData(0, 4, false)]
    [InlineData(1, 4, true)]
    [InlineData(4, 4, true)]
    [InlineData(5, 4, false)]
    [InlineData(-1, 4, false)]
    [InlineData(31, 100, true)]
    [InlineData(32, 100, false)]
    public void PortNumber_accepts_1_to_count(int value, int count, bool ok)
    {
        Assert.Equal(ok, PortNumber.TryCreate(value, count, out PortNumber port));
        Assert.Equal(ok ? value - 1 : -1, port.Index);
    }
}
