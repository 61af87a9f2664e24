"""Inside CARS: a DSM filling application that calls refbench. It is imported by CARS (entry point ``cars.plugins``)."""
