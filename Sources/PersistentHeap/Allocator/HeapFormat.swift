/// Where things are in a heap's bytes; docs/FORMAT.md draws them. All numbers are little-endian.
enum HeapFormat {
    /// "VARVHEAP".
    static let magic: UInt64 = 0x5041_4548_5652_4156
    static let version: UInt32 = 1

    // Fields of the header, bytes from the heap's base.
    static let magicOffset = 0
    static let versionOffset = 8
    static let capacityOffset = 16
    static let homeOffset = 24
    static let unitCountOffset = 32
    /// Units below it may be in use; those above never were.
    static let highWaterOffset = 40
    static let directoryOffset = 48
    static let rootCountOffset = 56
    static let headerBytes = 4096

    /// A unit: the piece that spans of blocks and large runs are made of.
    static let unitShift = 14
    static let unitBytes = 1 << unitShift
    /// A granule: what the bitmap has a bit for. Blocks begin at granules.
    static let granuleShift = 4
    static let granuleBytes = 1 << granuleShift
    static let granulesPerUnit = unitBytes / granuleBytes
    /// Granules are numbered by 32 bits.
    static let maximumCapacity = 1 << 36
    static let minimumCapacity = 1 << 20
    /// The high-water mark moves in steps of this many units.
    static let highWaterStep = 256

    // What a unit is: a byte of the unit table.
    static let free: UInt8 = 0
    /// Added to a span's class number in the units behind its first.
    static let continuation: UInt8 = 0x40
    static let classMask: UInt8 = 0x3f
    static let largeStart: UInt8 = 0x3f
    static let largeRest: UInt8 = 0x7f
}

/// The places that follow from a heap's capacity.
struct HeapGeometry: Equatable {
    /// Bytes of the heap, its header included.
    let capacity: Int
    /// A byte for each unit.
    let table: Int
    /// A bit for each granule of the units, set where an allocated block begins.
    let bitmap: Int
    /// The first unit.
    let units: Int
    let unitCount: Int

    init(capacity: Int) {
        self.capacity = capacity
        table = HeapFormat.headerBytes
        // As many units as fit with their bytes of the table and their bits of the bitmap, all on page boundaries.
        let perUnit = HeapFormat.unitBytes + 1 + HeapFormat.granulesPerUnit / 8
        var count = (capacity - HeapFormat.headerBytes) / perUnit
        while true {
            let bitmap = Self.round(HeapFormat.headerBytes + count, to: 4096)
            let units = Self.round(bitmap + count * HeapFormat.granulesPerUnit / 8, to: HeapFormat.unitBytes)
            if units + count * HeapFormat.unitBytes <= capacity {
                self.bitmap = bitmap
                self.units = units
                unitCount = count
                return
            }
            count -= 1
        }
    }

    static func round(_ value: Int, to multiple: Int) -> Int { (value + multiple - 1) / multiple * multiple }
}
