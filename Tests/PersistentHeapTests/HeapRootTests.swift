import Foundation
import TestSupport
import Testing
import Varve

@testable import PersistentHeap

enum Colour: UInt8, CaseIterable, Persistable { case red, green, blue }

struct AccountV1: Persistable, Equatable {
    var number: Int
    var balance: Double
    var isOpen: Bool
}

enum V2 {
    /// The same bytes, with two fields that have changed places.
    struct AccountV1: Persistable {
        var balance: Double
        var number: Int
        var isOpen: Bool
    }
    struct Account: Persistable, Equatable {
        var number: Int
        var cents: Int
        var colour: Colour
        var tags: (Int16, Bool)
        static func == (a: Account, b: Account) -> Bool { a.number == b.number && a.cents == b.cents }
    }
}

struct HoldsFunction: Persistable { var call: @convention(c) (Int) -> Int }
struct HoldsPointer: Persistable {
    var next: UnsafeMutablePointer<HoldsPointer>?
    var value: Int
}

struct Handwritten: Persistable {
    var a: Int32
    var b: UInt8
    var c: Int
    static var layout: TypeLayout {
        TypeLayout(Self.self, fields: [.init("a", \Self.a), .init("b", \Self.b), .init("c", \Self.c)])
    }
}
struct Forgetful: Persistable {
    var a: Int32
    var b: Int
    var c: Int
    static var layout: TypeLayout { TypeLayout(Self.self, fields: [.init("a", \Self.a), .init("c", \Self.c)]) }
}

/// Runs `body`, which must throw a heap's error, and gives that.
func heapError(_ body: () throws -> Void) -> HeapError? {
    do {
        try body()
        Issue.record("nothing was thrown")
        return nil
    } catch let error as HeapError { return error } catch {
        Issue.record("another error: \(error)")
        return nil
    }
}

struct HeapFixture {
    let folder = TemporaryFolder(inMemory: true)
    var path: String { folder.path + "/heap.varve" }
    func open(relocatable: Bool = false) throws -> PersistentHeap {
        try PersistentHeap.open(path, options: .init(capacity: 64 << 20, relocatable: relocatable, create: .init(ringBytes: 1 << 20)))
    }
}

@Suite struct HeapRootTests {
    let fixture = HeapFixture()

    @Test func rootsKeepTheirValuesAcrossOpenings() throws {
        do {
            let heap = try fixture.open()
            let account = try heap.root("account", default: AccountV1(number: 1, balance: 2.5, isOpen: true))
            account.value.balance *= 2
            _ = try heap.root("colour", default: Colour.green)
            _ = try heap.root("maybe", default: Int?.none)
            try heap.commit()
            account.value.balance = 0
            try heap.close()
        }
        let heap = try fixture.open()
        #expect(heap.rootNames == ["account", "colour", "maybe"])
        #expect(try heap.root("account", default: AccountV1(number: 0, balance: 0, isOpen: false)).value == AccountV1(number: 1, balance: 5, isOpen: true))
        #expect(try heap.root("colour", default: Colour.red).value == .green)
        #expect(try heap.root("maybe", default: Int?.some(3)).value == nil)
        try heap.close()
    }

    @Test func anotherTypeIsAnErrorThatShowsBothLayouts() throws {
        let heap = try fixture.open()
        _ = try heap.root("account", default: AccountV1(number: 1, balance: 2.5, isOpen: true))
        let wrong = heapError { _ = try heap.root("account", default: 7) }
        #expect(wrong?.code == .layoutMismatch)
        #expect(wrong?.message.contains("AccountV1{number@0: Int, balance@8: Double, isOpen@16: Bool}") == true)
        #expect(wrong?.message.contains("opened as Int") == true)
        let swapped = heapError { _ = try heap.root("account", default: V2.AccountV1(balance: 0, number: 0, isOpen: false)) }
        #expect(swapped?.code == .layoutMismatch)
        #expect(swapped?.message.contains("AccountV1{balance@0: Double, number@8: Int, isOpen@16: Bool}") == true)
        try heap.close()
    }

    @Test func whatMeansNothingInAnotherProcessIsRefused() throws {
        let heap = try fixture.open()
        let function = heapError { _ = try heap.root("f", default: HoldsFunction { $0 }) }
        #expect(function?.code == .unsuitableType)
        #expect(function?.message.contains("HoldsFunction.call") == true)
        let forgetful = heapError { _ = try heap.root("g", default: Forgetful(a: 1, b: 2, c: 3)) }
        #expect(forgetful?.code == .unsuitableType)
        #expect(heap.rootNames.isEmpty)
        #expect(try heap.root("h", default: Handwritten(a: 1, b: 2, c: 3)).value.c == 3)
        #expect(Handwritten.layout.text == "Handwritten{a@0: Int32, b@4: UInt8, c@8: Int}")
        #expect(SIMD3<Float>.layout.text == "SIMD3<Float>")
        #expect(try heap.root("v", default: SIMD4<Double>(1, 2, 3, 4)).value.w == 4)
        #expect(try heap.root("i", default: InlineArray<3, Int8?>(repeating: 4)).value[2] == 4)
        #expect(InlineArray<3, Int8?>.layout.text == "InlineArray<3><Optional<Int8>>")
        #expect(Colour.layout.text == "Colour{red=0|green=1|blue=2}")
        try heap.close()
    }

    @Test func namesAndVersionsAreChecked() throws {
        let heap = try fixture.open()
        #expect(heapError { _ = try heap.root("", default: 1) }?.code == .invalid)
        _ = try heap.root("n", version: 2, default: 1)
        #expect(heapError { _ = try heap.root("n", version: 1, default: 1) }?.code == .versionMismatch)
        #expect(heapError { _ = try heap.root("n", version: 3, default: 1) }?.code == .versionMismatch)
        #expect(heapError { _ = try heap.root("m", version: -1, default: 1) }?.code == .invalid)
        #expect(heapError { _ = try heap.root("n", version: 1 << 33, default: 1) { _ in 1 } }?.code == .invalid)
        #expect(heapError { try heap.removeRoot("m") }?.code == .noRoot)
        let blocks = try heap.statistics().allocatedBlocks
        _ = try heap.root("m", default: 1)
        try heap.removeRoot("n")
        #expect(heap.rootNames == ["m"])
        #expect(try heap.statistics().allocatedBlocks == blocks)
        #expect(try heap.check().problems == [])
        try heap.close()
    }

    @Test func anUpgradeIsOneTransaction() throws {
        let heap = try fixture.open()
        _ = try heap.root("account", default: AccountV1(number: 9, balance: 2.5, isOpen: true))
        try heap.commit()
        struct Refused: Error {}
        #expect(throws: Refused.self) {
            _ = try heap.root("account", version: 2, default: V2.Account(number: 0, cents: 0, colour: .red, tags: (0, false))) { old in
                _ = try heap.make(17)
                throw Refused()
            }
        }
        let blocks = try heap.statistics().allocatedBlocks
        #expect(try heap.root("account", of: AccountV1.self, default: AccountV1(number: 0, balance: 0, isOpen: false)).value.number == 9)
        let upgraded = try heap.root("account", version: 2, default: V2.Account(number: 0, cents: 0, colour: .red, tags: (0, false))) { old in
            #expect(old.version == 1 && old.layout == AccountV1.layout.text)
            #expect(heapError { _ = try old.value(as: Int.self) }?.code == .layoutMismatch)
            let account = try old.value(as: AccountV1.self)
            return V2.Account(number: account.number, cents: Int(account.balance * 100), colour: .blue, tags: (1, true))
        }
        #expect(upgraded.value.cents == 250)
        #expect(try heap.statistics().allocatedBlocks == blocks)
        #expect(try heap.check().problems == [])
        try heap.close()
        let again = try fixture.open()
        #expect(try again.root("account", version: 2, default: V2.Account(number: 0, cents: 0, colour: .red, tags: (0, false))).value.number == 9)
        try again.close()
    }

    @Test func anUpgradeMayChangeACollectionInPlace() throws {
        let heap = try fixture.open()
        let list: PersistentArray<Int> = try heap.root("list")
        try list.append(contentsOf: [1, 2, 3])
        try heap.commit()
        let blocks = try heap.statistics().allocatedBlocks
        let upgraded: PersistentArray<Int> = try heap.root("list", version: 2) { old in
            let list = try old.collection(as: PersistentArray<Int>.self)
            for index in list.indices { list[index] *= 10 }
            return list
        }
        #expect(Array(upgraded) == [10, 20, 30])
        #expect(try heap.statistics().allocatedBlocks == blocks)
        // Another one in its place: the old one is the upgrade's to release.
        let texts: PersistentArray<String> = try heap.root("list", version: 3) { old in
            let list = try old.collection(as: PersistentArray<Int>.self)
            let texts = try PersistentArray<String>(in: old.heap.space)
            for number in list { try texts.append("\(number)") }
            try list.release()
            return texts
        }
        #expect(Array(texts) == ["10", "20", "30"])
        #expect(heapError { let _: PersistentArray<Int> = try heap.root("list", version: 2) }?.code == .versionMismatch)
        #expect(try heap.check().problems == [])
        try heap.close()
        let again = try fixture.open()
        let found: PersistentArray<String> = try again.root("list", version: 3)
        #expect(Array(found) == ["10", "20", "30"])
        try again.close()
    }

    @Test func rawPointersAreValidAtTheHomeAddressAlone() throws {
        var address: UInt = 0
        do {
            let heap = try fixture.open()
            let root = try heap.root("p", default: HoldsPointer(next: nil, value: 1))
            let second = try heap.make(HoldsPointer(next: nil, value: 2))
            let place = (heap.space.base + second.offset).assumingMemoryBound(to: HoldsPointer.self)
            root.value.next = place
            _ = try heap.root("r", default: Ref<HoldsPointer>(offset: second.offset))
            _ = try heap.root("n", default: 5)
            address = UInt(bitPattern: heap.space.base)
            try heap.commit()
            try heap.close()
        }
        do {
            let heap = try fixture.open()
            #expect(UInt(bitPattern: heap.space.base) == address)
            #expect(try heap.root("p", default: HoldsPointer(next: nil, value: 1)).value.next?.pointee.value == 2)
            try heap.close()
        }
        let occupant = open("/etc/passwd", O_RDONLY)
        let squatter = mmap(UnsafeMutableRawPointer(bitPattern: address), 4096, PROT_READ, MAP_PRIVATE | MAP_FIXED, occupant, 0)!
        close(occupant)
        let taken = heapError { _ = try fixture.open() }
        #expect(taken?.cause?.code == .addressTaken)
        #expect(taken?.message.contains(String(address, radix: 16)) == true)
        #expect("\(taken as (any Error)?)".contains("/etc/passwd"), "\(taken as (any Error)?)")
        do {
            let heap = try fixture.open(relocatable: true)
            #expect(heap.isRelocated)
            #expect(heapError { _ = try heap.root("p", default: HoldsPointer(next: nil, value: 1)) }?.code == .unsuitableType)
            let n = try heap.root("n", default: 0)
            n.value += 1
            try heap.commit()
            try heap.transaction { n.value += 1 }
            try heap.close()
        }
        munmap(squatter, 4096)
        let heap = try fixture.open()
        #expect(!heap.isRelocated)
        #expect(try heap.root("n", default: 0).value == 7)
        #expect(try heap.root("p", default: HoldsPointer(next: nil, value: 1)).value.next?.pointee.value == 2)
        try heap.close()
    }

    /// README.md's example stands here word for word.
    private func example() throws {
        let heap = try PersistentHeap.open("counter.varve")
        let n = try heap.root("n", of: Int.self, default: 0)
        n.value += 1
        try heap.commit()
        try heap.close()
    }

    @Test func theReadmeShowsFourLines() throws {
        let here = URL(fileURLWithPath: #filePath)
        let root = here.deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
        let readme = try String(contentsOf: root.appendingPathComponent("README.md"), encoding: .utf8)
        let source = try String(contentsOf: here, encoding: .utf8)
        let lines = source.components(separatedBy: "\n").drop { !$0.contains("func example()") }.dropFirst().prefix(4)
        #expect(readme.contains(lines.map { $0.trimmingCharacters(in: .whitespaces) }.joined(separator: "\n")))
    }

    @Test func fourLinesCount() throws {
        for expected in 1...3 {
            let heap = try fixture.open()
            let n = try heap.root("n", of: Int.self, default: 0)
            n.value += 1
            try heap.commit()
            #expect(n.value == expected)
            try heap.close()
        }
    }
}
