using System;
using System.Collections.Generic;
using XenUsbDm.Core.Inspect;

namespace XenUsbDm.Core.Usb.Descriptors;

/// <summary>
/// The active configuration of one device: interfaces, alternate settings, endpoints and which of them are selected.
/// Made from the device's own bytes with every length checked; what stands before the first fault is kept, as hosts do,
/// because real devices have faults there too. Storage is kept from one configuration to the next and bounded by
/// <see cref="DescriptorLimits"/>.
/// </summary>
public sealed class ConfigurationTable : IInspectable
{
    private const int IndexCount = 32;

    private readonly List<Setting> _settings = [];
    private readonly List<EndpointDescriptor> _endpoints = [];
    private readonly byte[] _alternates = new byte[256];

    // Endpoint table index (EndpointAddress.Index) to place in _endpoints, -1 for none; rebuilt on every selection.
    private readonly short[] _active = new short[IndexCount];
    private readonly byte[] _activeInterface = new byte[IndexCount];

    /// <summary>An empty table: the device is not configured.</summary>
    public ConfigurationTable() => Clear();

    private readonly record struct Setting(InterfaceDescriptor Interface, int FirstEndpoint, int EndpointCount);

    /// <summary>The device is configured.</summary>
    public bool IsConfigured { get; private set; }

    /// <summary>bConfigurationValue.</summary>
    public byte ConfigurationValue { get; private set; }

    /// <summary>What was wrong with the bytes; the table holds what came before.</summary>
    public DescriptorProblem Problem { get; private set; }

    /// <summary>Alternate settings of all interfaces.</summary>
    public int SettingCount => _settings.Count;

    /// <summary>Forgets the configuration.</summary>
    public void Clear()
    {
        _settings.Clear();
        _endpoints.Clear();
        Array.Clear(_alternates);
        Array.Fill(_active, (short)-1);
        IsConfigured = false;
        ConfigurationValue = 0;
        Problem = DescriptorProblem.None;
    }

    /// <summary>
    /// Takes over a configuration with alternate setting 0 of every interface selected (USB 2.0 §9.4.7). Empty bytes mean
    /// not configured.
    /// </summary>
    public void Load(ReadOnlySpan<byte> block)
    {
        Clear();
        if (block.IsEmpty) return;
        if (!ConfigurationDescriptor.TryRead(block, out ConfigurationDescriptor configuration))
        {
            Problem = DescriptorProblem.NoConfiguration;
            return;
        }

        IsConfigured = true;
        ConfigurationValue = configuration.Value;
        var reader = new DescriptorReader(block[..Math.Min(block.Length, (int)configuration.TotalLength)]);
        Problem = LoadSettings(ref reader);
        if (Problem == DescriptorProblem.None) Problem = reader.Problem;
        Activate();
    }

    /// <summary>Selects an alternate setting (USB 2.0 §9.4.10). False, and no change, when the configuration has none such.</summary>
    public bool TrySelect(byte interfaceNumber, byte alternate)
    {
        foreach (Setting setting in _settings)
        {
            if (setting.Interface.Number != interfaceNumber || setting.Interface.Alternate != alternate) continue;
            _alternates[interfaceNumber] = alternate;
            Activate();
            return true;
        }

        return false;
    }

    /// <summary>The alternate setting selected for <paramref name="interfaceNumber"/>; 0 also for an interface that does not exist.</summary>
    public byte SelectedAlternate(byte interfaceNumber) => _alternates[interfaceNumber];

    /// <summary>The endpoint of a selected alternate setting; false when there is none. Endpoint 0 is in no configuration.</summary>
    public bool TryFind(EndpointAddress address, out EndpointDescriptor endpoint)
    {
        int place = _active[address.Index];
        endpoint = place < 0 ? default : _endpoints[place];
        return place >= 0;
    }

    /// <summary>True when <paramref name="address"/> is an endpoint of <paramref name="interfaceNumber"/>'s selected alternate setting.</summary>
    public bool BelongsTo(EndpointAddress address, byte interfaceNumber) =>
        _active[address.Index] >= 0 && _activeInterface[address.Index] == interfaceNumber;

    /// <inheritdoc/>
    public void Inspect(InspectWriter writer)
    {
        ArgumentNullException.ThrowIfNull(writer);
        writer.Flag("configured", IsConfigured);
        writer.Number("value", ConfigurationValue);
        writer.Text("problem", Problem.ToString());
        foreach (Setting setting in _settings)
        {
            if (_alternates[setting.Interface.Number] != setting.Interface.Alternate) continue;
            using (writer.Node("interface", setting.Interface.Number))
            {
                writer.Number("alternate", setting.Interface.Alternate);
                writer.Text("class", $"{setting.Interface.Class:x2}/{setting.Interface.Subclass:x2}/{setting.Interface.Protocol:x2}");
                writer.Number("endpoints", setting.EndpointCount);
            }
        }
    }

    private DescriptorProblem LoadSettings(ref DescriptorReader reader)
    {
        bool skip = true; // Endpoints before the first interface, or of an alternate setting that repeats another, belong nowhere.
        bool lastWasEndpoint = false;
        int interfaces = 0;
        while (reader.TryRead(out DescriptorType type, out ReadOnlySpan<byte> bytes))
        {
            if (type == DescriptorType.Interface)
            {
                lastWasEndpoint = false;
                if (!InterfaceDescriptor.TryRead(bytes, out InterfaceDescriptor setting)) return DescriptorProblem.TooShort;
                skip = Has(setting, out bool newInterface);
                if (skip) continue;
                if (newInterface && ++interfaces > DescriptorLimits.Interfaces) return DescriptorProblem.TooMany;
                if (_settings.Count == DescriptorLimits.AlternateSettings) return DescriptorProblem.TooMany;
                _settings.Add(new Setting(setting, _endpoints.Count, 0));
            }
            else if (type == DescriptorType.Endpoint)
            {
                lastWasEndpoint = false;
                if (!EndpointDescriptor.TryRead(bytes, out EndpointDescriptor endpoint)) return DescriptorProblem.TooShort;
                if (skip || endpoint.Address.Number == 0) continue;
                Setting setting = _settings[^1];
                if (Repeats(setting, endpoint.Address)) continue;
                if (_endpoints.Count == DescriptorLimits.Endpoints) return DescriptorProblem.TooMany;
                _endpoints.Add(endpoint);
                _settings[^1] = setting with { EndpointCount = setting.EndpointCount + 1 };
                lastWasEndpoint = true;
            }
            else if (type == DescriptorType.SuperSpeedEndpointCompanion && lastWasEndpoint)
            {
                lastWasEndpoint = false;
                if (EndpointCompanion.TryRead(bytes, out EndpointCompanion companion))
                    _endpoints[^1] = _endpoints[^1] with { Companion = companion };
            }

            // Class-specific descriptors may stand between an endpoint and its companion in faulty devices; they do not part them.
        }

        return DescriptorProblem.None;
    }

    private bool Has(InterfaceDescriptor wanted, out bool newInterface)
    {
        newInterface = true;
        foreach (Setting setting in _settings)
        {
            if (setting.Interface.Number != wanted.Number) continue;
            newInterface = false;
            if (setting.Interface.Alternate == wanted.Alternate) return true;
        }

        return false;
    }

    // At most 30 distinct addresses exist, so refusing repeats also bounds the endpoints of one setting.
    private bool Repeats(Setting setting, EndpointAddress address)
    {
        for (int i = 0; i < setting.EndpointCount; i++)
        {
            if (_endpoints[setting.FirstEndpoint + i].Address == address) return true;
        }

        return false;
    }

    private void Activate()
    {
        Array.Fill(_active, (short)-1);
        foreach (Setting setting in _settings)
        {
            if (_alternates[setting.Interface.Number] != setting.Interface.Alternate) continue;
            for (int i = 0; i < setting.EndpointCount; i++)
            {
                int place = setting.FirstEndpoint + i;
                ref short active = ref _active[_endpoints[place].Address.Index];
                if (active >= 0) continue; // Two interfaces claim one endpoint: the first keeps it.
                active = (short)place;
                _activeInterface[_endpoints[place].Address.Index] = setting.Interface.Number;
            }
        }
    }
}
