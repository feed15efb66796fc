public import VMTypes

/// One change of the catalog, as the journal carries it.
///
/// A change says what is true from its commit's version on. One that names what is not there changes
/// nothing (`Catalog.apply` names it in its notes), and one that makes what is there replaces its state: a
/// catalog that was rebuilt in part is never stuck.
public enum CatalogChange: Hashable, Sendable {
    /// The object `id` exists. A number that was deleted may be made again by a rollback.
    case createObject(id: ObjectID, name: String?, size: UInt64, residency: UInt8)
    /// The object has this name, or none.
    case renameObject(id: ObjectID, name: String?)
    /// The object has this many bytes.
    case resizeObject(id: ObjectID, size: UInt64)
    /// The object is gone. Map entries that show it stay until their task's map changes.
    case deleteObject(id: ObjectID)
    /// The task `id` exists, with an empty map.
    case createTask(id: TaskID, name: String, windowBase: UInt64, windowSize: UInt64)
    /// The task is gone, and its entries with it.
    case deleteTask(id: TaskID)
    /// The task's map within `start ..< end` is exactly `entries`: whatever else overlaps the range ends,
    /// whole, so the range is chosen on entry boundaries.
    case setEntries(task: TaskID, start: UInt64, end: UInt64, entries: [CatalogEntry])
    /// `name` names `version`, of one object or of the whole store.
    case createSnapshot(name: String, version: Version, object: ObjectID?, message: String)
    /// No snapshot has this name.
    case deleteSnapshot(name: String)
    /// The snapshot `from` is called `to`.
    case renameSnapshot(from: String, to: String)
    /// Tasks and their maps are what they were at `version`.
    ///
    /// Objects and snapshots are not touched: a rollback's commit says by other changes which objects it
    /// makes again, resizes, renames or deletes.
    case rollback(to: Version)

    /// What kind of change it is.
    public var kind: CatalogChangeKinds {
        switch self {
        case .createObject, .renameObject, .resizeObject, .deleteObject: .objects
        case .createTask, .deleteTask: .tasks
        case .setEntries: .maps
        case .createSnapshot, .deleteSnapshot, .renameSnapshot: .snapshots
        case .rollback: .rollback
        }
    }
}
