/// The catalog's schema, one numbered SQL file a step, embedded in the binary.
///
/// A released file is never edited: a later one changes what it made.
public enum Migrations {
    /// Every step in order: its identifier (the file's name without `.sql`) and its SQL.
    public static let all: [(identifier: String, sql: String)] = [
        ("V0001_catalog", text(PackageResources.V0001_catalog_sql)),
        ("V0002_checksums", text(PackageResources.V0002_checksums_sql)),
    ]

    private static func text(_ bytes: [UInt8]) -> String { String(decoding: bytes, as: UTF8.self) }
}
