internal import Glibc
public import VMTypes

extension SharedMemory {
    /// Pages that have bytes here, in memory or in swap space, in order: what a holder of a writable descriptor could
    /// have stored to.
    public func presentRuns(in range: PageRange) throws(StoreError) -> [PageRange] {
        try checkLive(range)
        return try locked { () throws(StoreError) in
            var result: [PageRange] = []
            try SystemCall.forEachPresentRun(file, inFile(range)) { run in
                result.appendRun(start: run.start - self.firstFilePage, end: run.end - self.firstFilePage)
            }
            return result
        }
    }

    /// Pages that are in memory, in order; those in swap space are not.
    public func residentRuns(in range: PageRange) throws(StoreError) -> [PageRange] {
        var result: [PageRange] = []
        var flags = [UInt8](repeating: 0, count: 4096)
        for present in try presentRuns(in: range) {
            var next = present.start
            while next < present.end {
                let count = min(flags.count, present.end - next)
                try locked { () throws(StoreError) in
                    _ = try SystemCall.check("mincore") {
                        mincore(pointer(toPage: next), count << Page.shift, &flags) < 0 ? -Int(errno) : 0
                    }
                }
                for index in 0..<count where flags[index] & 1 != 0 {
                    result.appendRun(start: next + index, end: next + index + 1)
                }
                next += count
            }
        }
        return result
    }

    /// How many pages are in memory, and how many in swap space.
    public func residency(in range: PageRange) throws(StoreError) -> (resident: Int, swapped: Int) {
        let present = try presentRuns(in: range).reduce(0) { $0 + $1.count }
        let resident = try residentRuns(in: range).reduce(0) { $0 + $1.count }
        return (resident, max(0, present - resident))
    }
}
