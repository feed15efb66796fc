import TestSupport
import Varve

/// What a store holds, as plain byte arrays: the committed state and the one in memory.
struct StoreModel: Equatable {
    /// Pages of one object in one task, at a fixed place of its window.
    struct Region: Equatable {
        var task: Int
        var object: String
        var firstPage: Int
        var protections: [Protection]
        var pageCount: Int { protections.count }
    }

    struct Image: Equatable {
        /// Nameless memory is called `~` and a number.
        var objects: [String: [UInt8]] = [:]
        /// By the slot of the windows that each begins at.
        var regions: [Int: Region] = [:]

        func region(of object: String) -> Int? { regions.first { $0.value.object == object }?.key }

        var withoutLostMemory: Image {
            Image(objects: objects.filter { !$0.key.hasPrefix("~") || region(of: $0.key) != nil }, regions: regions)
        }
    }

    var committed = Image()
    var working = Image()
    var snapshots: [String: [String: [UInt8]]] = [:]
    /// Objects stored to since the last commit.
    var touched: Set<String> = []
    var numbers = 0

    var named: [String] { committed.objects.keys.filter { !$0.hasPrefix("~") }.sorted() }

    mutating func commit() {
        // Nameless memory ends with its region.
        working.objects = working.objects.filter { !$0.key.hasPrefix("~") || working.region(of: $0.key) != nil }
        committed = working
        touched = []
    }

    mutating func abandon() {
        working = committed
        touched = []
    }

    /// What a commit of its own does to one object, beside what memory holds.
    mutating func set(_ object: String, _ bytes: [UInt8]?) {
        committed.objects[object] = bytes
        working.objects[object] = bytes
    }

    mutating func number() -> Int {
        numbers += 1
        return numbers
    }
}
