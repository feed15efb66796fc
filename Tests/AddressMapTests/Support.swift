import AddressMap
import Testing
import VMTypes

/// Bytes in a page.
let page = UInt64(Page.size)
/// The last page-aligned address.
let top = UInt64.max - (page - 1)

/// A map with the bounds [`first`, `end`), in pages.
func map(pages first: UInt64 = 1, _ end: UInt64 = 100) -> AddressMap {
    AddressMap(bounds: first * page..<end * page)
}

/// A zero-filled entry over `pages`.
func entry(_ pages: Range<UInt64>) -> MapEntry {
    MapEntry(start: pages.lowerBound * page, end: pages.upperBound * page)
}

/// An entry over `pages` of an object, from page `offset` of it.
func entry(_ pages: Range<UInt64>, object: UInt64, offset: UInt64 = 0) -> MapEntry {
    var entry = entry(pages)
    entry.backing = .object(ObjectID(object), offset: offset * page)
    return entry
}

/// The byte range of `pages`.
func bytes(_ pages: Range<UInt64>) -> Range<UInt64> { pages.lowerBound * page..<pages.upperBound * page }

/// Expects `body` to throw a VMError with `code`.
func expect(
    _ code: KernReturn, sourceLocation: SourceLocation = #_sourceLocation, _ body: () throws(VMError) -> Void
) {
    do throws(VMError) {
        try body()
        Issue.record("no error, expected \(code)", sourceLocation: sourceLocation)
    } catch {
        #expect(error.code == code, "\(error)", sourceLocation: sourceLocation)
    }
}
