import Foundation
import Varve

/// The address map by itself, with 100,000 entries and gaps between them. Each time is the mean of 64 calls in a row.
struct AddressMapBenchmark {
    private static let count = 100_000
    private static let batch = 64
    private static let base: UInt64 = 1 << 44
    /// From one entry to the next: four pages, and a gap of four.
    private static let stride: UInt64 = 8 << 12
    private let rounds: Int
    private var map = AddressMap(bounds: base..<base + UInt64(count + 1) * stride)
    private var random = RandomPages(seed: 1, count: count)

    init(rounds: Int) throws {
        self.rounds = rounds
        for index in 0..<UInt64(Self.count) {
            let start = Self.base + index * Self.stride
            try map.insert(MapEntry(start: start, end: start + 4 << 12, backing: .object(ObjectID(index + 1), offset: 0)))
        }
    }

    /// The start of any entry.
    private mutating func anywhere() -> UInt64 { Self.base + UInt64(random.nextPage()) * Self.stride }

    mutating func run() throws -> [(name: String, times: Times)] {
        var last = Self.base + UInt64(Self.count) * Self.stride
        var found = 0
        var place = Times(), far = Times(), insert = Times(), find = Times(), next = Times(), clip = Times()
        for _ in 0..<rounds {
            let starts = (0..<Self.batch).map { _ in anywhere() }
            place.add(try Self.mean { for start in starts { last = try map.place(address: start, size: 2 << 12, mask: 0, anywhere: true).lowerBound } })
            // No gap between entries is large enough: the whole map is passed over.
            far.add(try Self.mean { for _ in starts { last = try map.place(address: Self.base, size: 8 << 12, mask: 0, anywhere: true).lowerBound } })
            find.add(Self.mean { for start in starts where map.lookup(start + 5000) != nil { found += 1 } })
            next.add(Self.mean { for start in starts where map.lookupOrNext(start + 5 << 12) != nil { found += 1 } })
            insert.add(try Self.mean {
                for start in starts {
                    try map.insert(MapEntry(start: start + 5 << 12, end: start + 6 << 12, backing: .zeroFill))
                    map.remove(start + 5 << 12..<start + 6 << 12)
                }
            })
            clip.add(try Self.mean {
                for start in starts {
                    try map.protect(start + 1 << 12..<start + 2 << 12, setMaximum: false, .read)
                    try map.protect(start + 1 << 12..<start + 2 << 12, setMaximum: false, .default)
                }
            })
        }
        precondition(last != 0 && found > 0)
        return [
            ("place, a gap at the hint", place), ("place, past every entry", far), ("find an address", find),
            ("find the next region", next), ("insert + remove", insert), ("clip into three + merge again", clip),
        ]
    }

    private static func mean(_ body: () throws -> Void) rethrows -> Double { try timed(body).seconds / Double(Self.batch) }
}
