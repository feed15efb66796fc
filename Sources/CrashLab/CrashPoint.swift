/// The images that a power cut at one moment may leave.
///
/// All of them, where they are few; else those in which nothing, everything, all before, one alone or all but one of what was
/// pending is there, and as many random ones as are asked for. Besides, blocks torn between their sectors.
struct CrashPoint {
    /// How many images one moment gives at the most.
    struct Limits: Sendable {
        /// Up to so many combinations, each of them.
        var exhaustive = 64
        /// Of each kind of choice, where there are more.
        var ofAKind = 12
        var random = 16
        var torn = 4
    }

    /// The states that one block, or one size, may be in: the durable one, and after each pending write.
    private struct Item {
        var file: UInt64
        /// Which of the file's pending writes, oldest first.
        var writes: [SimulatedDisk.Pending]
    }

    private let durable: CrashImage
    private let items: [Item]
    private let names: [SimulatedDisk.NameChange]

    init(_ disk: SimulatedDisk) {
        durable = CrashImage(durable: disk)
        names = disk.pendingNames
        var items: [Item] = []
        for (number, file) in disk.files.sorted(by: { $0.key < $1.key }) {
            var ofBlock: [Int: Int] = [:]
            for pending in file.pending {
                let key = pending.block ?? -1
                if let index = ofBlock[key] {
                    items[index].writes.append(pending)
                } else {
                    ofBlock[key] = items.count
                    items.append(Item(file: number, writes: [pending]))
                }
            }
        }
        self.items = items
    }

    /// Calls `body` with each image until it returns false.
    func forEach(_ limits: Limits, _ random: inout some RandomNumberGenerator, _ body: (CrashImage) throws(LabError) -> Bool) throws(LabError) {
        var combinations = names.count + 1
        for item in items where combinations <= limits.exhaustive { combinations *= item.writes.count + 1 }
        if combinations <= limits.exhaustive {
            for number in 0..<combinations {
                var rest = number
                let named = rest % (names.count + 1)
                rest /= names.count + 1
                let choice = items.map { item -> Int in
                    defer { rest /= item.writes.count + 1 }
                    return rest % (item.writes.count + 1)
                }
                guard try body(image(choice, named)) else { return }
            }
        } else {
            for (choice, named) in kinds(limits, &random) { guard try body(image(choice, named)) else { return } }
        }
        for _ in 0..<limits.torn {
            guard let torn = torn(&random) else { return }
            guard try body(torn) else { return }
        }
    }

    private func kinds(_ limits: Limits, _ random: inout some RandomNumberGenerator) -> [([Int], Int)] {
        let none = [Int](repeating: 0, count: items.count), all = items.map(\.writes.count)
        var found = [(none, 0), (all, names.count), (all, 0), (none, names.count)]
        // What was done first is there, the rest is not: as a disk that keeps the order leaves it.
        let orders = items.flatMap { $0.writes.map(\.order) }.sorted()
        for moment in sample(Array(Set(orders)).sorted(), limits.ofAKind, &random) {
            found.append((items.map { item in item.writes.count { $0.order <= moment } }, names.count))
        }
        for index in sample(Array(items.indices), limits.ofAKind, &random) {
            var one = none, others = all
            one[index] = all[index]
            others[index] = 0
            found.append((one, 0))
            found.append((others, names.count))
        }
        for _ in 0..<limits.random {
            found.append((all.map { Int.random(in: 0...$0, using: &random) }, Int.random(in: 0...names.count, using: &random)))
        }
        return found
    }

    private func sample<Element>(_ elements: [Element], _ count: Int, _ random: inout some RandomNumberGenerator) -> [Element] {
        elements.count <= count ? elements : Array(elements.shuffled(using: &random).prefix(count))
    }

    /// `choice[i]` writes of item i are there, and so many changes of names.
    private func image(_ choice: [Int], _ named: Int) -> CrashImage {
        var image = durable
        for (item, count) in zip(items, choice) where count > 0 {
            // A size may be there before what it was grown for; a cut takes what lies beyond it.
            image.apply(item.writes[count - 1], to: item.file)
        }
        for change in names.prefix(named) { image.names.apply(change) }
        image.description = "\(choice.count { $0 > 0 }) of \(items.count) pending blocks and sizes, \(named) of \(names.count) changes of names"
        return image
    }

    /// An image in which one pending block is there in part; nil where no block is pending.
    private func torn(_ random: inout some RandomNumberGenerator) -> CrashImage? {
        let blocks = items.indices.filter { items[$0].writes[0].block != nil }
        guard let index = blocks.randomElement(using: &random) else { return nil }
        let item = items[index]
        let base = Bool.random(using: &random) ? items.map(\.writes.count) : [Int](repeating: 0, count: items.count)
        var image = image(base, names.count)
        var pending = item.writes.randomElement(using: &random)!
        let old = (durable.files[item.file]?.blocks[pending.block!] ?? .zeros).bytes
        var mixed = old
        for sector in stride(from: 0, to: SimulatedDisk.blockSize, by: 512) where Bool.random(using: &random) {
            mixed.replaceSubrange(sector..<sector + 512, with: pending.content.bytes[sector..<sector + 512])
        }
        pending.content = SimulatedDisk.Block(mixed)
        image.apply(pending, to: item.file)
        image.description += ", block \(pending.block!) of file \(item.file) torn"
        return image
    }
}
