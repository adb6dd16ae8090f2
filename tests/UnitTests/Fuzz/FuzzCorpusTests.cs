using System;
using System.IO;
using System.Linq;
using Xunit;
using XenUsbDm.Fuzz;
using XenUsbDm.Fuzz.Engine;
using XenUsbDm.Fuzz.Xhci;

namespace XenUsbDm.UnitTests.Fuzz;

/// <summary>
/// Replays the fuzzer's corpus with every oracle: no exception, bounded work, bounded memory, no access outside mapped
/// memory, the same outputs twice, nothing left after detach and reset. Inputs are named after the attack or the bug.
/// </summary>
public sealed class FuzzCorpusTests
{
    public static TheoryData<string, string> Inputs()
    {
        var inputs = new TheoryData<string, string>();
        foreach (FuzzSession session in FuzzCommand.Targets())
        {
            string folder = Path.Combine(FuzzCommand.FindCorpus(), session.Name);
            foreach (string file in Directory.EnumerateFiles(folder, "*.bin").Order(StringComparer.Ordinal))
                inputs.Add(session.Name, Path.GetFileNameWithoutExtension(file));
        }

        return inputs;
    }

    [Theory]
    [MemberData(nameof(Inputs))]
    public void Corpus_replayed_holds_every_oracle(string target, string name)
    {
        FuzzSession session = FuzzCommand.Targets().Single(s => s.Name == target);
        byte[] input = File.ReadAllBytes(Path.Combine(FuzzCommand.FindCorpus(), target, name + ".bin"));

        Exception? complaint = session.Replay(input);

        Assert.Null(complaint);
    }

    [Fact]
    public void Seeds_of_the_code_are_the_seeds_of_the_corpus()
    {
        foreach ((string name, byte[] input) in Seeds.All())
            Assert.Equal(input, File.ReadAllBytes(Path.Combine(FuzzCommand.FindCorpus(), XhciTarget.Name, $"seed-{name}.bin")));
    }

    [Fact]
    public void Fuzzing_with_the_same_seed_finds_the_same_inputs()
    {
        byte[][][] found = new byte[2][][];
        for (int run = 0; run < 2; run++)
        {
            var session = new FuzzSession(XhciTarget.Name, XhciTarget.Fuzz);
            session.Run(seed: 7, executions: 300, TimeSpan.FromHours(1), InputReader.Unit, thoroughEvery: 50);
            found[run] = session.Inputs();
        }

        Assert.NotEmpty(found[0]);
        Assert.Equal(found[0], found[1]);
    }

    [Fact]
    public void Minimizer_keeps_what_the_oracle_complains_about()
    {
        var session = new FuzzSession("wanted", input =>
        {
            if (input.Contains((byte)7)) throw new OracleException("seven", "there is one");
        });
        byte[] input = [.. Enumerable.Repeat((byte)1, 64)];
        input[33] = 7;

        byte[] smaller = Minimizer.Minimize(session, input, "seven");

        Assert.Equal(8, smaller.Length);
        Assert.Equal(7, smaller.Sum(b => b));
    }
}
