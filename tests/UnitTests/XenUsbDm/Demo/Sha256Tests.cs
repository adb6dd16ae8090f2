using System;
using System.Security.Cryptography;
using System.Text;
using XenUsbDm.Demo;
using Xunit;

namespace XenUsbDm.UnitTests.Demo;

public sealed class Sha256Tests
{
    [Theory] // FIPS 180-2 appendix B
    [InlineData("", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")]
    [InlineData("abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad")]
    [InlineData("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq", "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1")]
    public void Digest_is_the_standards(string text, string expected)
    {
        var hash = new Sha256();
        hash.Append(Encoding.ASCII.GetBytes(text));

        Assert.Equal(expected, hash.Finish());
    }

    [Fact]
    public void Digest_of_any_length_in_any_pieces_is_that_of_the_whole()
    {
        byte[] data = new byte[300];
        new Random(3).NextBytes(data);
        for (int length = 0; length < data.Length; length++)
        {
            var hash = new Sha256();
            for (int at = 0; at < length;)
            {
                int piece = Math.Min((at % 70) + 1, length - at);
                hash.Append(data.AsSpan(at, piece));
                at += piece;
            }

            Assert.Equal(Convert.ToHexString(SHA256.HashData(data.AsSpan(0, length))).ToLowerInvariant(), hash.Finish());
        }
    }
}
