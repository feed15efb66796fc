#if DEBUG
/// What reads bytes that a disk, another process or another build may have changed: for any bytes it must throw, or decode.
public enum FuzzTarget: String, CaseIterable, Sendable {
    /// A record of the journal whose checksum holds, and the operations in it.
    case journalRecord = "journal-record"
    case operations
    /// The value of a page-store record's part, its header's checksum right.
    case layerPart = "layer-part"
    /// A row of one of the page store's other tables, its checksum right.
    case metadataRow = "metadata-row"
    case catalogChanges = "catalog-changes"
    /// A value in a cell of the catalog, and all that reads it then.
    case catalogRow = "catalog-row"
    /// What comes over the control socket, either way.
    case controlStream = "control-stream"

    /// Feeds it; whether the bytes were decoded. Traps where something is wrong with the decoder.
    public func feed(_ bytes: [UInt8]) -> Bool {
        do {
            switch self {
            case .journalRecord: try PageStoreDecoders.record(bytes)
            case .operations: try PageStoreDecoders.operations(bytes)
            case .layerPart: try PageStoreDecoders.part(bytes)
            case .metadataRow: try PageStoreDecoders.row(bytes)
            case .catalogChanges: try CatalogDecoders.changes(bytes)
            case .catalogRow: try CatalogDecoders.shared.cell(bytes)
            case .controlStream: try ControlDecoders.stream(bytes)
            }
            return true
        } catch { return false }
    }
}

/// Bytes that a decoder does not take before it looks at them as that.
struct NotTaken: Error {}
#endif
