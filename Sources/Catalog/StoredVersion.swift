internal import GRDB
internal import VMTypes

/// How versions stand in the database: as themselves, with a last value that means "not yet".
enum StoredVersion {
    /// `died` of a row that is live.
    static let never = Int64.max

    /// The version to look at: later than every commit where `version` is out of range, as infinity is.
    static func moment(_ version: Version) -> Int64 { Int64(clamping: min(version.rawValue, UInt64(never - 1))) }
}

extension Version {
    /// True where a row can be born or die at this version.
    var fitsCatalog: Bool { rawValue < UInt64(StoredVersion.never - 1) }
}
