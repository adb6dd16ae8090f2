using System;
using System.Buffers.Binary;
using System.Globalization;
using System.Text;
using System.Text.Json;

namespace XenUsbDm.Hosts.VfioUser;

/// <summary>
/// VERSION: what the client proposes, and our answer. The answer has the client's minor version up to
/// <see cref="MaxMinor"/>, names only capabilities that the client named, and is never longer than the proposal, because
/// QEMU receives it into the buffer that it sent from.
/// </summary>
/// <param name="Major">Major version proposed.</param>
/// <param name="Minor">Minor version proposed.</param>
/// <param name="NamesDescriptors">The client named max_msg_fds.</param>
/// <param name="TransferBytes">The client's max_data_xfer_size; 0 when it named none.</param>
/// <param name="NamesWriteMultiple">The client named write_multiple as true.</param>
public readonly record struct VersionMessage(ushort Major, ushort Minor, bool NamesDescriptors, long TransferBytes, bool NamesWriteMultiple)
{
    /// <summary>The major version that this server speaks.</summary>
    public const ushort SupportedMajor = 0;

    /// <summary>The highest minor version that this server speaks.</summary>
    public const ushort MaxMinor = 1;

    private const int FixedBytes = 4;

    /// <summary>Reads a proposal; false when it is malformed.</summary>
    public static bool TryRead(ReadOnlySpan<byte> payload, out VersionMessage message)
    {
        message = default;
        if (payload.Length < FixedBytes || payload.Length > FixedBytes + VfioUserLimits.MaxVersionBytes) return false;
        ushort major = BinaryPrimitives.ReadUInt16LittleEndian(payload);
        ushort minor = BinaryPrimitives.ReadUInt16LittleEndian(payload[2..]);
        message = new VersionMessage(major, minor, false, 0, false);
        ReadOnlySpan<byte> json = payload[FixedBytes..];
        if (json.IsEmpty) return true;
        if (json[^1] != 0) return false;
        json = json[..^1];
        return json.IsEmpty || TryReadCapabilities(json, ref message);
    }

    /// <summary>
    /// Writes our answer's payload and returns its length; 0 when <paramref name="space"/> (the proposal's length) is too
    /// small for any answer.
    /// </summary>
    public int WriteReply(Span<byte> payload, int space, bool offerWriteMultiple)
    {
        if (space < FixedBytes) return 0;
        BinaryPrimitives.WriteUInt16LittleEndian(payload, Major);
        BinaryPrimitives.WriteUInt16LittleEndian(payload[2..], Math.Min(Minor, MaxMinor));
        var json = new StringBuilder("{\"capabilities\":{", 128);
        if (NamesDescriptors) json.Append(CultureInfo.InvariantCulture, $"\"max_msg_fds\":{VfioUserLimits.MaxDescriptors},");
        if (TransferBytes > 0) json.Append(CultureInfo.InvariantCulture, $"\"max_data_xfer_size\":{Math.Min(TransferBytes, VfioUserLimits.MaxTransferBytes)},");
        if (offerWriteMultiple && NamesWriteMultiple) json.Append("\"write_multiple\":true,");
        if (json[^1] == ',') json.Length--;
        json.Append("}}\0");
        if (FixedBytes + json.Length > space) return FixedBytes;
        return FixedBytes + Encoding.ASCII.GetBytes(json.ToString(), payload[FixedBytes..]);
    }

    private static bool TryReadCapabilities(ReadOnlySpan<byte> json, ref VersionMessage message)
    {
        try
        {
            var reader = new Utf8JsonReader(json, new JsonReaderOptions { MaxDepth = 8 });
            while (reader.Read())
            {
                // Only the members of the one object "capabilities"; a twin socket or migration object inside is passed over.
                if (reader.TokenType != JsonTokenType.PropertyName || reader.CurrentDepth != 2) continue;
                bool descriptors = reader.ValueTextEquals("max_msg_fds"u8);
                bool transfer = reader.ValueTextEquals("max_data_xfer_size"u8);
                bool multiple = reader.ValueTextEquals("write_multiple"u8);
                if (!reader.Read()) return false;
                if (descriptors && reader.TokenType == JsonTokenType.Number) message = message with { NamesDescriptors = true };
                if (transfer && reader.TokenType == JsonTokenType.Number && reader.TryGetInt64(out long bytes) && bytes > 0)
                    message = message with { TransferBytes = bytes };
                if (multiple && reader.TokenType == JsonTokenType.True) message = message with { NamesWriteMultiple = true };
            }

            return true;
        }
        catch (JsonException)
        {
            return false;
        }
    }
}
