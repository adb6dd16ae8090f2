using System;
using XenUsbDm.Core.Inspect;
using Xunit;

namespace XenUsbDm.UnitTests.Core.Inspect;

public sealed class InspectWriterTests
{
    private sealed class Leaf : IInspectable
    {
        public void Inspect(InspectWriter writer)
        {
            writer.Hex("register", 0xdeadbeef);
            writer.Number("count", -3);
            writer.Flag("on", true);
            writer.Flag("off", false);
            writer.Text("name", null);
        }
    }

    [Fact]
    public void Dump_writes_every_kind_of_field() =>
        Assert.Equal("/register 0xdeadbeef\n/count -3\n/on yes\n/off no\n/name -\n", InspectWriter.Dump(new Leaf()));

    [Fact]
    public void Node_scopes_nest_and_end()
    {
        var writer = new InspectWriter();
        using (writer.Node("port", 2))
        {
            writer.Child("device", new Leaf());
            writer.Text("after", "x");
        }

        writer.Text("root", "y");

        Assert.Equal("/port/2/device/register", writer.Fields[0].Key);
        Assert.Equal("/port/2/after", writer.Fields[^2].Key);
        Assert.Equal("/root", writer.Fields[^1].Key);
    }

    [Theory]
    [InlineData("/", "/a/b 1\n/ab 2\n/a 3\n")]
    [InlineData("/a", "/a/b 1\n/a 3\n")]
    [InlineData("/a/", "/a/b 1\n/a 3\n")]
    [InlineData("/a/b", "/a/b 1\n")]
    [InlineData("/c", "")]
    [InlineData("/a/b/c/d", "")]
    public void Render_shows_a_path_and_what_is_below_it(string path, string expected)
    {
        var writer = new InspectWriter();
        using (writer.Node("a")) writer.Text("b", "1");
        writer.Text("ab", "2");
        writer.Text("a", "3");

        Assert.Equal(expected, writer.Render(path));
    }

    [Fact]
    public void Scope_equality_is_the_same_node_of_the_same_writer()
    {
        var writer = new InspectWriter();
        InspectWriter.Scope outer = writer.Node("a");
        InspectWriter.Scope inner = writer.Node("b");
        InspectWriter.Scope same = outer;

        Assert.True(outer == same);
        Assert.True(outer != inner);
        Assert.True(outer.Equals((object)same));
        Assert.False(outer.Equals("a"));
        Assert.False(outer.Equals(new InspectWriter().Node("a")));
        Assert.Equal(outer.GetHashCode(), same.GetHashCode());
    }

    [Fact]
    public void Dump_of_nothing_is_refused()
    {
        Assert.Throws<ArgumentNullException>(() => InspectWriter.Dump(null!));
        Assert.Throws<ArgumentNullException>(() => new InspectWriter().Child("a", null!));
    }
}
