internal import GRDB
internal import VMTypes

/// The one way by which 64 bits without a sign (numbers of objects and tasks, addresses, sizes) enter and
/// leave the database: as the signed integer with the same bits.
///
/// SQLite's order is that of signed integers, so a range of such numbers is up to two ranges there.
struct StoredInteger: Hashable, DatabaseValueConvertible {
    let value: UInt64

    init(_ value: UInt64) { self.value = value }
    init(_ id: ObjectID) { value = id.rawValue }
    init(_ id: TaskID) { value = id.rawValue }

    var bits: Int64 { Int64(bitPattern: value) }
    var databaseValue: DatabaseValue { bits.databaseValue }

    static func fromDatabaseValue(_ value: DatabaseValue) -> StoredInteger? {
        guard case .int64(let bits) = value.storage else { return nil }
        return StoredInteger(UInt64(bitPattern: bits))
    }

    /// The database's ranges that hold exactly the numbers in `start ..< end`, in the numbers' order.
    static func ranges(_ start: UInt64, _ end: UInt64) -> [ClosedRange<Int64>] {
        guard start < end else { return [] }
        let first = Int64(bitPattern: start)
        let last = Int64(bitPattern: end - 1)
        return first <= last ? [first...last] : [first...Int64.max, Int64.min...last]
    }
}
