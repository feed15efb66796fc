/// The images that a power cut may leave while one epoch of a log is pending.
struct BlockCut {
    /// All combinations of so many entries.
    private static let mostExhaustive = 3
    /// Choices of each kind, where there are more.
    private static let random = 3

    struct Image {
        var volume: BlockVolume
        /// For people.
        var description: String
        /// Entries that are there whole.
        var choice: [Int]
        var torn: Torn?
    }

    /// An entry of which only some sectors are there.
    struct Torn {
        var entry: Int
        /// Where they begin on the device.
        var sectors: [Int]
    }

    private let log: WriteLog
    private let epoch: WriteLog.Epoch
    /// What is durable; no forced entry of the epoch.
    private let durable: BlockVolume
    /// Those that change something and may be missing.
    private let pending: [Int]

    init(_ log: WriteLog, _ epoch: WriteLog.Epoch, on durable: BlockVolume) {
        self.log = log
        self.epoch = epoch
        self.durable = durable
        pending = epoch.pending.filter { !log.entries[$0].place.isEmpty && !log.entries[$0].isForced }
    }

    /// Each of them until `body` returns false.
    func forEach(_ random: inout some RandomNumberGenerator, _ body: (Image) throws(LabError) -> Bool) throws(LabError) {
        for choice in choices(&random) { guard try body(image(choice)) else { return } }
        // One entry in flight is there in some of its sectors.
        guard let torn = pending.randomElement(using: &random) else { return }
        let place = log.entries[torn].place
        // Of a long one as often a part from its beginning.
        let sectors = stride(from: place.lowerBound, to: place.upperBound, by: Block.sector)
        let until = Bool.random(using: &random) ? Int.random(in: place, using: &random) : place.upperBound
        let there = sectors.filter { $0 < until && (until < place.upperBound || Bool.random(using: &random)) }
        _ = try body(image(pending.filter { $0 != torn && Bool.random(using: &random) }, torn: Torn(entry: torn, sectors: there)))
    }

    private func choices(_ random: inout some RandomNumberGenerator) -> [[Int]] {
        if pending.count <= Self.mostExhaustive {
            return (0..<1 << pending.count).map { bits in pending.indices.filter { bits >> $0 & 1 == 1 }.map { pending[$0] } }
        }
        let alone = pending.randomElement(using: &random)!
        var found = [[], pending, Array(pending.prefix(Int.random(in: 1..<pending.count, using: &random))), [alone], pending.filter { $0 != alone }]
        for _ in 0..<Self.random { found.append(pending.filter { _ in Bool.random(using: &random) }) }
        return found
    }

    /// What is durable with these entries, and a part of another.
    func image(_ choice: [Int], torn: Torn? = nil) -> Image {
        var volume = durable
        let chosen = Set(choice)
        for index in epoch.pending {
            let entry = log.entries[index]
            if let torn, index == torn.entry {
                for sector in torn.sectors { volume.apply(entry, of: log, only: sector..<min(sector + Block.sector, entry.place.upperBound)) }
            } else if entry.isForced || chosen.contains(index) {
                volume.apply(entry, of: log)
            }
        }
        var text = "\(epoch.durable) requests durable, \(choice.count) of \(pending.count) pending ones"
        if let torn {
            text += ", request \(torn.entry) torn: \(torn.sectors.count) of \(log.entries[torn.entry].place.count / Block.sector) sectors"
        }
        return Image(volume: volume, description: text, choice: choice, torn: torn)
    }
}
