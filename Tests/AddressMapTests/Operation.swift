import AddressMap
import TestSupport
import VMTypes

/// One call on an address map, with arguments as a hostile caller might choose them.
enum Operation {
    case map(address: UInt64, size: UInt64, mask: UInt64, anywhere: Bool, template: MapEntry)
    case remove(address: UInt64, size: UInt64)
    case protect(address: UInt64, size: UInt64, setMaximum: Bool, Protection)
    case inherit(address: UInt64, size: UInt64, Inheritance)
    case wire(address: UInt64, size: UInt64, access: Protection)
    case lookup(address: UInt64)

    /// An arbitrary call on a map of `pages` pages.
    static func random(pages: UInt64, using random: inout SeededGenerator) -> Operation {
        let address = extreme(below: pages + 2, using: &random)
        let size = Int.random(in: 0..<3, using: &random) == 0
            ? extreme(below: pages, using: &random) : UInt64.random(in: 0...3 * page, using: &random)
        let protection = Protection(rawValue: Int32.random(in: 0..<9, using: &random))
        switch Int.random(in: 0..<16, using: &random) {
        case 0..<6:
            let mask = [0, 0, page - 1, 2 * page - 1, page * (random.next() % 16), random.next(), 1 << 63]
                .randomElement(using: &random)!
            return .map(
                address: address, size: size, mask: mask, anywhere: Bool.random(using: &random),
                template: template(using: &random))
        case 6..<9: return .remove(address: address, size: size)
        case 9..<11:
            return .protect(address: address, size: size, setMaximum: random.next() % 4 == 0, protection)
        case 11..<13:
            return .inherit(address: address, size: size, Inheritance.allCases.randomElement(using: &random)!)
        case 13..<15: return .wire(address: address, size: size, access: random.next() % 2 == 0 ? .none : protection)
        default: return .lookup(address: address)
        }
    }

    /// An address or size: mostly of one of the first `pages` pages, sometimes at an end of 64 bits.
    private static func extreme(below pages: UInt64, using random: inout SeededGenerator) -> UInt64 {
        switch Int.random(in: 0..<20, using: &random) {
        case 0: [0, 1, page - 1, .max, .max - 1, top, top - 1, top + 1, top - page, 1 << 63]
            .randomElement(using: &random)!
        case 1: random.next()
        case 2..<6: UInt64.random(in: 0..<pages * page, using: &random)
        default: UInt64.random(in: 0..<pages, using: &random) * page
        }
    }

    /// Attributes for a new entry, from few enough kinds that neighbours often merge.
    private static func template(using random: inout SeededGenerator) -> MapEntry {
        var entry = MapEntry(start: 0, end: page)
        entry.current = [.default, .default, .read].randomElement(using: &random)!
        entry.maximum = [.all, .all, .default].randomElement(using: &random)!
        entry.copied = random.next() % 8 == 0
        if random.next() % 3 != 0 { entry.backing = .object(ObjectID(random.next() % 2), offset: 0) }
        return entry
    }
}
