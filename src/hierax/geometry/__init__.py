"""Where a problem lives: shapes, what they are put together from, and quadrature inside of them and on boundaries."""

from hierax.geometry.extrusion import Extrusion as Extrusion
from hierax.geometry.level_set import LevelSet as LevelSet
from hierax.geometry.mesh_file import mesh as mesh
from hierax.geometry.part import Part as Part
from hierax.geometry.plane import Disk as Disk
from hierax.geometry.plane import Ellipse as Ellipse
from hierax.geometry.plane import Polygon as Polygon
from hierax.geometry.plane import Rectangle as Rectangle
from hierax.geometry.repeated import Repeated as Repeated
from hierax.geometry.shape import AbstractShape as AbstractShape
from hierax.geometry.shape import Difference as Difference
from hierax.geometry.shape import Intersection as Intersection
from hierax.geometry.shape import Union as Union
from hierax.geometry.solid import Cylinder as Cylinder
from hierax.geometry.solid import cuboid as Cuboid
from hierax.geometry.solid import half_space as HalfSpace
from hierax.geometry.solid import sphere as Sphere
