@_exported import VirtualMemory
