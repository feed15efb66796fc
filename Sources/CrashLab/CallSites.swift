/// The places in a program that make calls, and of which of them a call has failed.
struct CallSites {
    struct Site {
        var call: Fault.Call
        /// The library of the store's that makes the call, and where in it.
        var library: String?
        var offset: UInt64
        /// The innermost return addresses within the program.
        var frames: [UInt64]

        /// Equal for all ways that lead to the same call.
        var innermost: String { "\(call.rawValue) \(library ?? "") \(offset) \(frames.first ?? 0)" }
    }

    private(set) var sites: [UInt64: Site] = [:]
    private(set) var failed: Set<UInt64> = []
    private(set) var program: String?

    /// What a process wrote of itself: whether a call failed, and how many there were of each kind.
    struct Log {
        var hasFailed = false
        var calls: [Fault.Call: Int] = [:]
    }

    /// Takes what a process wrote.
    mutating func add(_ text: [UInt8]) throws(LabError) -> Log {
        var log = Log()
        for line in text.split(separator: UInt8(ascii: "\n")) {
            let words = line.split(separator: UInt8(ascii: " ")).map { String(decoding: $0, as: UTF8.self) }
            func hex(_ index: Int) -> UInt64? { index < words.count ? UInt64(words[index], radix: 16) : nil }
            let call = words.count > 1 ? UInt32(words[1]).flatMap(Fault.Call.init) : nil
            switch (words[0], call) {
            case ("program", _): program = words.dropFirst().joined(separator: " ")
            case ("site", let call?):
                guard words.count >= 5, let hash = hex(2), let offset = hex(4) else { fallthrough }
                sites[hash] = Site(
                    call: call, library: words[3] == "-" ? nil : words[3], offset: offset, frames: words[5...].compactMap { UInt64($0, radix: 16) })
            case ("failed", _?):
                log.hasFailed = true
                if let hash = hex(2) { failed.insert(hash) }
            case ("calls", let call?): log.calls[call] = words.count > 2 ? Int(words[2]) : nil
            // A process that was ended in the middle of a line.
            default: break
            }
        }
        return log
    }

    mutating func add(_ other: CallSites) {
        sites.merge(other.sites) { mine, _ in mine }
        failed.formUnion(other.failed)
        program = program ?? other.program
    }

    /// Those of which no call failed, as people read them.
    func neverFailed() throws(LabError) -> [String] {
        let done = Set(failed.compactMap { sites[$0]?.innermost })
        let left = sites.filter { !failed.contains($0.key) && !done.contains($0.value.innermost) }.values
        let symbols = try program.map { (path) throws(LabError) in try ProgramSymbols(path) }
        return Set(
            left.map { site in
                let names = site.frames.prefix(2).map { symbols?.name(at: $0) ?? String($0, radix: 16) }
                return "\(site.call.name) by \(([site.library].compactMap { $0 } + names).joined(separator: " < "))"
            }
        ).sorted()
    }

    var innermostCount: Int { Set(sites.values.map(\.innermost)).count }
    var failedInnermostCount: Int { Set(failed.compactMap { sites[$0]?.innermost }).count }
}
