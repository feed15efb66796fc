internal import VMTypes

/// Finds entries of one task that overlap in addresses at a version that shows both.
///
/// It goes through the versions in order and keeps the entries that are live, by address: a newborn can
/// only overlap its neighbours there.
enum EntrySweep {
    struct Lifetime {
        var entry: CatalogEntry
        var born: Int64
        var died: Int64
    }

    static func problems(in rows: [Lifetime]) -> [String] {
        var problems: [String] = []
        for row in rows where row.entry.start >= row.entry.end
            || Page.trunc(row.entry.start) != row.entry.start || Page.trunc(row.entry.end) != row.entry.end
        {
            problems.append("\(name(row)) is empty or not page-aligned")
        }
        let births = rows.sorted { ($0.born, $0.entry.start) < ($1.born, $1.entry.start) }
        let deaths = rows.sorted { ($0.died, $0.entry.start) < ($1.died, $1.entry.start) }
        var live: [Lifetime] = []
        var gone = deaths.startIndex
        for row in births {
            while gone < deaths.endIndex, deaths[gone].died <= row.born {
                remove(deaths[gone], from: &live)
                gone += 1
            }
            let place = index(of: row.entry.start, in: live)
            if place > 0, live[place - 1].entry.end > row.entry.start {
                problems.append("\(name(row)) overlaps \(name(live[place - 1]))")
            }
            if place < live.count, live[place].entry.start < row.entry.end {
                problems.append("\(name(row)) overlaps \(name(live[place]))")
            }
            live.insert(row, at: place)
        }
        return problems
    }

    /// The first place whose entry begins at `start` or later.
    private static func index(of start: UInt64, in live: [Lifetime]) -> Int {
        var low = 0
        var high = live.count
        while low < high {
            let middle = (low + high) / 2
            if live[middle].entry.start < start { low = middle + 1 } else { high = middle }
        }
        return low
    }

    private static func remove(_ row: Lifetime, from live: inout [Lifetime]) {
        var place = index(of: row.entry.start, in: live)
        while place < live.count, live[place].entry.start == row.entry.start {
            if live[place].born == row.born {
                live.remove(at: place)
                return
            }
            place += 1
        }
    }

    private static func name(_ row: Lifetime) -> String {
        let died = row.died == StoredVersion.never ? "now" : "\(row.died)"
        let range = "\(hex(row.entry.start))..<\(hex(row.entry.end))"
        return "the entry \(range) of \(row.entry.task), versions \(row.born)..<\(died),"
    }
}
