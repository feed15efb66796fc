/// What a commit changed in the catalog; empty where it changed pages only.
public struct CatalogChangeKinds: OptionSet, Hashable, Sendable, CustomStringConvertible {
    public let rawValue: Int64

    /// The set with these bits.
    public init(rawValue: Int64) { self.rawValue = rawValue }

    /// An object was made, named, resized or deleted.
    public static let objects = CatalogChangeKinds(rawValue: 1)
    /// A task was made or deleted.
    public static let tasks = CatalogChangeKinds(rawValue: 2)
    /// A task's map changed.
    public static let maps = CatalogChangeKinds(rawValue: 4)
    /// A snapshot was made, renamed or deleted.
    public static let snapshots = CatalogChangeKinds(rawValue: 8)
    /// The tasks went back to an earlier version.
    public static let rollback = CatalogChangeKinds(rawValue: 16)

    /// The kinds that `changes` are of.
    public init(of changes: [CatalogChange]) {
        self = []
        for change in changes { formUnion(change.kind) }
    }

    /// The kinds by name, separated by commas; empty for none.
    public var description: String {
        let names: [(CatalogChangeKinds, String)] = [
            (.objects, "objects"), (.tasks, "tasks"), (.maps, "maps"), (.snapshots, "snapshots"),
            (.rollback, "rollback"),
        ]
        return names.filter { contains($0.0) }.map(\.1).joined(separator: ", ")
    }
}
