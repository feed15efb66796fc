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

        /// For moments of which there are many.
        static let few = Limits(exhaustive: 16, ofAKind: 4, random: 4, torn: 2)
    }

    /// The states that one block, or one size, may be in: the durable one, and after each pending write.
    private struct Item {
        var file: UInt64
        /// Oldest first.
        var writes: [SimulatedDisk.Pending]
        var isBlock: Bool { writes[0].block != nil }
    }

    /// Of each item how many of its writes have happened, how many changes of names; and a block that is there in part.
    struct Choice {
        var writes: [Int]
        var names: Int
        var torn: Torn?
    }

    /// Sectors of a block that are those of a write that is pending.
    struct Torn {
        var item: Int
        var write: Int
        /// Their offsets in the block.
        var sectors: [Int]
    }

    private let durable: CrashImage
    private let items: [Item]
    private let names: [NameChange]

    init(_ disk: SimulatedDisk) {
        durable = CrashImage(durable: disk)
        names = disk.pendingNames
        // What no name leads to, or will, is on no image.
        var named = Set(durable.names.entries.values.compactMap { $0 })
        for case .add(_, let file) in names { named.insert(file) }
        var items: [Item] = []
        for (number, file) in disk.files.sorted(by: { $0.key < $1.key }) where named.contains(number) {
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
    func forEach(
        _ limits: Limits, _ random: inout some RandomNumberGenerator, _ body: (CrashImage) throws(LabError) -> Bool
    ) throws(LabError) {
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
                guard try body(image(Choice(writes: choice, names: named))) else { return }
            }
        } else {
            for (choice, named) in kinds(limits, &random) { guard try body(image(Choice(writes: choice, names: named))) else { return } }
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
        let orders = Set(items.flatMap { $0.writes.map(\.order) }).sorted()
        for moment in sample(orders, limits.ofAKind, &random) {
            found.append((items.map { item in item.writes.count { $0.order <= moment } }, names.count))
        }
        for named in sample(Array(0...names.count), limits.ofAKind, &random) { found.append((all, named)) }
        for index in sample(Array(items.indices), limits.ofAKind, &random) {
            var one = none, others = all
            one[index] = all[index]
            others[index] = 0
            found.append((one, names.count))
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

    /// Of a block the last of `choice.writes[i]` writes is there, of a size all of them have happened; and so many changes of names.
    func image(_ choice: Choice) -> CrashImage {
        var image = durable
        var changes: [UInt64: [SimulatedDisk.Pending]] = [:]
        for (item, count) in zip(items, choice.writes) where count > 0 {
            if item.isBlock { changes[item.file, default: []].append(item.writes[count - 1]) } else {
                changes[item.file, default: []] += item.writes.prefix(count)
            }
        }
        for (file, changes) in changes {
            guard var content = image.files.removeValue(forKey: file) else { continue }
            // In their order: what a smaller size cut off does not come back, what was written after it stays.
            for change in changes.sorted(by: { $0.order < $1.order }) { change.apply(to: &content) }
            image.files[file] = content
        }
        for change in names.prefix(choice.names) { image.names.apply(change) }
        image.choice = choice
        image.description =
            "\(choice.writes.count { $0 > 0 }) of \(items.count) pending blocks and sizes, \(choice.names) of \(names.count) changes of names"
        if let torn = choice.torn { tear(torn, in: &image) }
        return image
    }

    /// An image in which one pending block is there in part; nil where no block is pending.
    private func torn(_ random: inout some RandomNumberGenerator) -> CrashImage? {
        let blocks = items.indices.filter { items[$0].isBlock }
        guard let index = blocks.randomElement(using: &random) else { return nil }
        var choice = Bool.random(using: &random) ? items.map(\.writes.count) : [Int](repeating: 0, count: items.count)
        choice[index] = 0
        let write = Int.random(in: items[index].writes.indices, using: &random)
        let sectors = stride(from: 0, to: Block.size, by: Block.sector).filter { _ in Bool.random(using: &random) }
        return image(Choice(writes: choice, names: names.count, torn: Torn(item: index, write: write, sectors: sectors)))
    }

    private func tear(_ torn: Torn, in image: inout CrashImage) {
        let item = items[torn.item]
        guard var content = image.files[item.file], case .block(let block, let new) = item.writes[torn.write].change else { return }
        var mixed = content[block].bytes
        for sector in torn.sectors { mixed.replaceSubrange(sector..<sector + Block.sector, with: new.bytes[sector..<sector + Block.sector]) }
        content[block] = Block.make(mixed)
        image.files[item.file] = content
        let name = image.names.entries.first { $0.value == item.file }?.key ?? "a file"
        image.description += ", block \(block) of \(name) torn"
    }
}
