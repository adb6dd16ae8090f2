using System;
using System.Buffers.Binary;
using System.Text.Json;

namespace XenUsbDm.Hosts.State;

/// <summary>
/// The file that a saved state travels in: 8 bytes magic, then little-endian 32-bit words version, payload length and
/// CRC-32 of the payload, then the payload (JSON). Reading believes nothing before it has checked it.
/// </summary>
public static class StateFile
{
    /// <summary>Bytes before the payload.</summary>
    public const int HeaderLength = 20;

    /// <summary>The version that is written, and the only one that is read.</summary>
    public const uint Version = 1;

    /// <summary>
    /// Most bytes of a payload: 64 MiB. 255 slots with 31 endpoints take some 10 MiB; transfers in flight are limited by the
    /// controller.
    /// </summary>
    public const int MaxPayload = 64 << 20;

    /// <summary>The first eight bytes of a file.</summary>
    public static ReadOnlySpan<byte> Magic => "XUDMSTAT"u8;

    /// <summary>The whole file for a state.</summary>
    public static byte[] Write(MachineStateV1 state)
    {
        ArgumentNullException.ThrowIfNull(state);
        byte[] payload = JsonSerializer.SerializeToUtf8Bytes(state, MachineStateJson.Default.MachineStateV1);
        byte[] file = new byte[HeaderLength + payload.Length];
        Magic.CopyTo(file);
        BinaryPrimitives.WriteUInt32LittleEndian(file.AsSpan(8), Version);
        BinaryPrimitives.WriteUInt32LittleEndian(file.AsSpan(12), (uint)payload.Length);
        BinaryPrimitives.WriteUInt32LittleEndian(file.AsSpan(16), Crc32.Of(payload));
        payload.CopyTo(file.AsSpan(HeaderLength));
        return file;
    }

    /// <summary>Bytes of the payload that a header announces; -1, with the reason, when it is not one of ours.</summary>
    public static int ReadHeader(ReadOnlySpan<byte> header, out string error)
    {
        error = string.Empty;
        if (header.Length < HeaderLength || !header.StartsWith(Magic)) error = "not a saved state of this program";
        else if (BinaryPrimitives.ReadUInt32LittleEndian(header[8..]) != Version) error = $"saved state of version {BinaryPrimitives.ReadUInt32LittleEndian(header[8..])}, this program reads {Version}";
        else if (BinaryPrimitives.ReadUInt32LittleEndian(header[12..]) is 0 or > MaxPayload) error = "saved state of an impossible length";
        return error.Length == 0 ? (int)BinaryPrimitives.ReadUInt32LittleEndian(header[12..]) : -1;
    }

    /// <summary>Reads a whole file. On false <paramref name="error"/> says what is wrong with it.</summary>
    public static bool TryRead(ReadOnlySpan<byte> file, out MachineStateV1? state, out string error)
    {
        state = null;
        int length = ReadHeader(file, out error);
        if (length < 0) return false;
        ReadOnlySpan<byte> payload = file[HeaderLength..];
        if (payload.Length != length)
        {
            error = $"saved state of {payload.Length} bytes instead of {length}";
            return false;
        }

        if (Crc32.Of(payload) != BinaryPrimitives.ReadUInt32LittleEndian(file[16..]))
        {
            error = "saved state is damaged (checksum)";
            return false;
        }

        try
        {
            state = JsonSerializer.Deserialize(payload, MachineStateJson.Default.MachineStateV1);
        }
        catch (JsonException e)
        {
            error = $"saved state is malformed: {e.Message}";
            return false;
        }

        if (state is not null) return true;
        error = "saved state is empty";
        return false;
    }
}
