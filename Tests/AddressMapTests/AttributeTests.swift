import AddressMap
import Testing
import VMTypes

@Suite struct AttributeTests {
    @Test func protectClipsAndReportsWhatChanged() throws {
        var map = map()
        try map.insert(entry(10..<20, object: 1))
        let changes = try map.protect(bytes(12..<14), setMaximum: false, .read)
        var after = entry(12..<14, object: 1, offset: 2)
        after.current = .read
        #expect(changes.map(\.before) == [entry(12..<14, object: 1, offset: 2)])
        #expect(changes.map(\.after) == [after])
        #expect(map.entries.map(\.range) == [bytes(10..<12), bytes(12..<14), bytes(14..<20)])
        #expect(try map.protect(bytes(10..<20), setMaximum: false, .default).map(\.range) == [bytes(12..<14)])
        #expect(Array(map.entries) == [entry(10..<20, object: 1)])
    }

    @Test func settingTheMaximumShrinksTheCurrentProtection() throws {
        var map = map()
        try map.insert(entry(10..<12))
        try map.protect(bytes(10..<11), setMaximum: true, [.read, .execute])
        #expect(map.lookup(10 * page)?.maximum == [.read, .execute])
        #expect(map.lookup(10 * page)?.current == .read)
        #expect(map.lookup(11 * page) == entry(11..<12))
    }

    @Test(arguments: [false, true])
    func moreThanSomeMaximumIsProtectionFailureAndChangesNothing(setMaximum: Bool) throws {
        var map = map()
        try map.insert(entry(10..<12))
        try map.protect(bytes(11..<12), setMaximum: true, .read)
        let before = map
        expect(.protectionFailure) { () throws(VMError) in
            try map.protect(bytes(10..<12), setMaximum: setMaximum, .write)
        }
        #expect(map == before)
    }

    @Test func aHoleIsInvalidAddressAndChangesNothing() throws {
        var map = map()
        try map.insert(entry(10..<12))
        try map.insert(entry(13..<14))
        let before = map
        for range in [9..<11, 11..<14, 13..<15, 30..<31] as [Range<UInt64>] {
            expect(.invalidAddress) { () throws(VMError) in
                try map.protect(bytes(range), setMaximum: false, .read)
            }
            expect(.invalidAddress) { () throws(VMError) in try map.wire(bytes(range), access: .read) }
        }
        #expect(map == before)
    }

    @Test func ofAHoleAndAProtectionFailureTheLowerAnswers() throws {
        var map = map()
        try map.insert(entry(10..<11))
        try map.insert(entry(12..<13))
        try map.protect(bytes(12..<13), setMaximum: true, .read)
        expect(.invalidAddress) { () throws(VMError) in
            try map.protect(bytes(10..<13), setMaximum: false, .write)
        }
        expect(.protectionFailure) { () throws(VMError) in
            try map.protect(bytes(12..<14), setMaximum: false, .write)
        }
    }

    @Test func malformedProtectionIsInvalidArgumentEvenForNoRange() {
        for bits in [8, -1, 16 | 1] as [Int32] {
            expect(.invalidArgument) { () throws(VMError) in
                var map = map()
                try map.protect(page..<page, setMaximum: false, Protection(rawValue: bits))
            }
            expect(.invalidArgument) { () throws(VMError) in
                var map = map()
                try map.wire(page..<page, access: Protection(rawValue: bits))
            }
        }
    }

    @Test func inheritToleratesHolesAndClips() throws {
        var map = map()
        try map.insert(entry(10..<12))
        try map.insert(entry(14..<16))
        let changes = map.inherit(bytes(11..<15), .none)
        #expect(changes.map(\.range) == [bytes(11..<12), bytes(14..<15)])
        #expect(map.count == 4)
        #expect(map.lookup(11 * page)?.inheritance == Inheritance.none)
        #expect(map.inherit(bytes(40..<50), .share).isEmpty)
        #expect(map.inherit(bytes(11..<15), .none).isEmpty)
        map.inherit(bytes(0..<100), .copy)
        #expect(Array(map.entries) == [entry(10..<12), entry(14..<16)])
    }

    @Test func wiringCounts() throws {
        var map = map()
        try map.insert(entry(10..<14))
        #expect(try map.wire(bytes(10..<12), access: .read).map(\.after.wiredCount) == [1])
        #expect(try map.wire(bytes(11..<13), access: .write).map(\.after.wiredCount) == [2, 1])
        #expect(map.count == 4)
        expect(.invalidArgument) { () throws(VMError) in try map.wire(bytes(12..<14), access: .none) }
        try map.wire(bytes(10..<12), access: .none)
        try map.wire(bytes(11..<13), access: .none)
        #expect(Array(map.entries) == [entry(10..<14)])
    }

    @Test func wiringForMoreThanTheCurrentProtectionIsProtectionFailure() throws {
        var map = map()
        try map.insert(entry(10..<14))
        expect(.protectionFailure) { () throws(VMError) in try map.wire(bytes(10..<14), access: .execute) }
        #expect(Array(map.entries) == [entry(10..<14)])
    }

    @Test func aWiredCountDoesNotOverflow() throws {
        var map = map()
        var wired = entry(10..<11)
        wired.wiredCount = .max
        try map.insert(wired)
        expect(.resourceShortage) { () throws(VMError) in try map.wire(bytes(10..<11), access: .read) }
    }
}
