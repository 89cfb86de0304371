"""From files and packets to pixels: the one reader behind the line, `f2p inspect`, training, checks and parity.

suffixes    which files are pictures and videos, by name
decode      bytes of an image file -> pixels, or UnreadablePicture with the reason
header      size, pages, orientation and value range of an image file, before it is decoded
damage      damage in image files that decoders pass over
folder      which files of a folder are read, and which are passed over
video       packets of a video -> pictures; those predicted from a damaged one are refused
bitstream   damage and gaps in H.264 and H.265 that decoders pass over
stream      everything that a command was asked to read, picture by picture
"""
